"""The mode over restarts and reloads: `spower mode` holds until the site file's mode changes."""

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.slurm import Runner
from slurm_power.adapters.store import open_store
from slurm_power.config import load_site
from slurm_power.core.policy import Mode
from slurm_power.daemon.control import ControlHandler
from slurm_power.daemon.main import Daemon
from slurm_power.daemon.mode import Choice, Settled, settle_stored

ROOT = 0


@dataclass
class Machine:
    """A site file and a database that outlive the daemon."""

    directory: Path
    daemon: Daemon = field(init=False)

    def write(self, mode: str) -> None:
        socket = self.directory / "hook.sock"
        (self.directory / "site.yaml").write_text(
            f"mode: {mode}\nhook: {{socket: {socket}}}\nzones: {{z: {{nodes: n1, limit: 10kW}}}}\n"
            f"state: {{url: 'sqlite:///{self.directory}/state.db'}}\n"
        )

    def start(self) -> str:
        site = load_site(self.directory / "site.yaml")
        self.daemon = Daemon(site, open_store(site.state_url), Runner(), (ROOT, ROOT))
        return str(self.daemon.desk.mode)

    def restart(self) -> str:
        self.daemon.close()
        return self.start()

    def reload(self) -> str:
        """SIGHUP."""
        self.daemon._reload()
        return str(self.daemon.desk.mode)

    def ask(self, **request: object) -> dict[str, Any]:
        handler = self.daemon._control._handler
        assert isinstance(handler, ControlHandler)

        async def one() -> str:
            return await handler(Peer(ROOT, ROOT, 1), {"op": "mode", **request})

        found: dict[str, Any] = json.loads(asyncio.run(one()))["result"]
        return found

    def told_to_the_gate(self) -> str:
        return (self.directory / "hook.sock.mode").read_text().strip()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    made.write("enforce")
    made.start()
    yield made
    made.daemon.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_was_set_holds_over_restarts_and_reloads(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.ask(mode="observe")
    assert [machine.restart(), machine.reload(), machine.restart()] == ["observe"] * 3
    assert warnings(caplog) == []


def test_a_mode_changed_in_the_file_while_the_daemon_was_away_holds(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.ask(mode="observe")
    machine.daemon.close()
    machine.write("advise")
    assert machine.start() == "advise"
    assert warnings(caplog) == [
        "the site file's mode was enforce when `spower mode observe` was given, and is advise now: "
        "the site file's mode holds"
    ]
    machine.write("enforce")
    assert machine.restart() == "enforce"  # what was set is forgotten for good
    assert len(warnings(caplog)) == 1


def test_a_mode_changed_in_the_file_holds_from_the_reload_on(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.ask(mode="observe")
    machine.write("advise")
    assert machine.reload() == "advise"
    assert machine.told_to_the_gate() == "advise"
    assert len(warnings(caplog)) == 1
    assert machine.restart() == "advise"


def test_the_same_mode_in_a_file_changed_elsewhere_overrules_nothing(machine: Machine) -> None:
    machine.ask(mode="observe")
    site = machine.directory / "site.yaml"
    site.write_text(site.read_text().replace("10kW", "12kW"))
    assert machine.reload() == "observe"
    assert machine.restart() == "observe"


def test_set_again_after_the_file_has_changed(machine: Machine) -> None:
    machine.ask(mode="observe")
    machine.write("advise")
    machine.reload()
    machine.ask(mode="enforce")
    assert machine.restart() == "enforce"
    machine.write("observe")
    assert machine.restart() == "observe"


def test_a_file_that_came_to_say_what_was_set_holds_by_itself(machine: Machine) -> None:
    machine.ask(mode="advise")
    machine.write("advise")
    assert machine.restart() == "advise"
    assert machine.ask()["source"] == "file"


def test_mode_shows_what_is_in_force_and_by_whom(machine: Machine) -> None:
    by_file = {"source": "file", "set_uid": None, "set_at": None, "file_mode": "enforce"}
    assert machine.ask() == {"schema": 1, "mode": "enforce", "released": 0, **by_file}
    machine.ask(mode="observe")
    machine.restart()
    found = machine.ask()
    assert found.pop("set_at").endswith("Z")
    by_root = {"source": "command", "set_uid": ROOT, "file_mode": "enforce"}
    assert found == {"schema": 1, "mode": "observe", "released": 0, **by_root}


@pytest.mark.parametrize("stored", ["observe", "", "[]", '{"mode":"observe"}', '{"mode":"panic","file":"enforce"}'])
def test_what_cannot_be_understood_is_told_and_left(stored: str) -> None:
    found = settle_stored(stored, Mode.ADVISE)
    assert found.choice is None
    assert "is not understood: the site file's mode, advise, holds" in found.warning


def test_a_choice_comes_back_as_it_was_stored() -> None:
    choice = Choice(Mode.OBSERVE, Mode.ENFORCE, 4_294_967_294, 1_800_000_000)
    assert settle_stored(choice.stored(), Mode.ENFORCE) == Settled(choice)
