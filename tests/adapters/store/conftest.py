"""Every kind of store that the contract suite runs over, each empty."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from slurm_power.adapters.store import open_store
from slurm_power.ports import Store
from tests.adapters.store import servers
from tests.fakes.store import MemoryStore

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    with servers.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    with servers.mariadb() as url:
        yield url


@contextmanager
def _database(kind: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[str]:
    """The URL of an empty database of this kind."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'state.db'}"
        return
    server: str = request.getfixturevalue(f"{kind}_server")
    with servers.fresh_database(server, f"test_{next(_NUMBERS)}") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of each kind in turn."""
    with _database(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture(params=["postgresql", "mariadb"])
def server_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database on a server, of each kind in turn."""
    with _database(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture(params=["memory", "sqlite", "postgresql", "mariadb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store: the fake, and the real one over each kind of database."""
    if request.param == "memory":
        yield MemoryStore()
        return
    with _database(request.param, request, tmp_path) as url:
        opened = open_store(url)
        yield opened
        opened.close()
