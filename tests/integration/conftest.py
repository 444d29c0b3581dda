"""Real clusters for tests. Where Slurm cannot be started they fail; they are never skipped.

`site` is the cluster of a module: of its own, with the text of a site file that the module has as `SITE`; else the one
of `racks.yaml`, which all the other modules share. `home` is the same for one test, which leaves nothing behind.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from slurm_power.sandbox import build, cluster
from slurm_power.sandbox.layout import Layout
from tests.integration.driver import Driver
from tests.integration.running import Cluster, new_root

Starter = Callable[[build.Options], Cluster]


@pytest.fixture(scope="module")
def start_cluster() -> Iterator[Starter]:
    """Starts clusters for one module: `start_cluster(Options(new_root(), racks=1))`; they end with the module."""
    started: list[Path] = []

    def start(options: build.Options) -> Cluster:
        state = build.up(options)
        started.append(state.root)
        return Cluster(state.root)

    yield start
    for root in started:
        if Layout(root).state_file.exists():
            cluster.down(root)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Cluster]:
    """One cluster of 4 racks × 4 nodes with the daemon, for all tests that leave it as they found it."""
    state = build.up(build.Options(new_root()))
    try:
        yield Cluster(state.root)
    finally:
        cluster.down(state.root)


@pytest.fixture(scope="session")
def racks() -> Iterator[Driver]:
    """One cluster of `racks.yaml` with the daemon, for all tests that leave it as they found it."""
    state = build.up(build.Options(new_root(), site=Path(__file__).with_name("racks.yaml")))
    try:
        driver = Driver.of(Cluster(state.root))
        driver.give_up_zone("lab")
        driver.close_partition("closed")
        yield driver
    finally:
        cluster.down(state.root)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """The module's cluster, with the daemon."""
    text: str | None = getattr(request.module, "SITE", None)
    if text is None:
        shared: Driver = request.getfixturevalue("racks")
        return shared
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_text(text)
    start: Starter = request.getfixturevalue("start_cluster")
    return Driver.of(start(build.Options(new_root(), site=path, gpus=0)))


@pytest.fixture
def unwatched(site: Driver) -> Iterator[Driver]:
    """Leaves nothing behind. For tests in which budgets cannot be watched: slurmctld is gone for a while, or jobs are
    on nodes that have not started, or run without a claim.
    """
    yield site
    site.cancel_all()
    assert set(site.agree().values()) == {0}


@pytest.fixture
def home(unwatched: Driver) -> Iterator[Driver]:
    """As above, and no budget was passed at any moment."""
    with unwatched.watched():
        yield unwatched


@pytest.fixture
def notes() -> Iterator[Path]:
    """Where jobs of all users write what happens to them, and look for what they wait for."""
    with TemporaryDirectory(prefix="spower") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path
