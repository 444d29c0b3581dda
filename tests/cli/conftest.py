import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slurm_power.cli.spower import spower
from tests.cli.stage import SITE, Stage, play, short_directory

Spower = Callable[..., Result]


@dataclass(frozen=True)
class Scene:
    """A daemon with three jobs, for tests that change nothing."""

    stage: Stage
    jobs: dict[str, str]

    def spower(self, *args: str) -> Result:
        """Run a command that asks this daemon."""
        return run(*args, env={"SLURM_POWER_SOCKET": str(self.stage.socket)})


def run(*args: str, env: dict[str, str] | None = None) -> Result:
    """`spower ARGS` in an environment without any of our variables but those given."""
    clean = {"SLURM_POWER_CONF": None, "SLURM_POWER_SOCKET": None, **(env or {})}
    return CliRunner().invoke(spower, args, env=clean, prog_name="spower")


@pytest.fixture(scope="package", autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C ends a command: started in the background, the tests and all that they start would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="package")
def scene() -> Iterator[Scene]:
    with short_directory() as directory, Stage(directory).open() as stage:
        yield Scene(stage, play(stage))


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A daemon of one test's own."""
    with short_directory() as directory, Stage(directory).open() as stage:
        yield stage


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The file of a site without problems."""
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return path
