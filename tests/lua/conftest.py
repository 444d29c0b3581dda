from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lua.support import FakeDaemon, Hook


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "hook.sock"


@pytest.fixture
def daemon(socket_path: Path) -> Iterator[FakeDaemon]:
    fake = FakeDaemon(socket_path)
    yield fake
    fake.close()


@pytest.fixture
def hook(tmp_path: Path, socket_path: Path) -> Hook:
    return Hook(tmp_path, socket_path)
