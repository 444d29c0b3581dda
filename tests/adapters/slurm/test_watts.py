"""The watts of nodes as real Slurms printed them."""

import json
from collections.abc import Iterator, Mapping

import pytest

from slurm_power.adapters.slurm import inventory
from slurm_power.adapters.slurm.runner import Completed
from slurm_power.core.errors import SlurmParseError
from tests.adapters.slurm.replay import ASSETS, VERSIONS, Replay

UNKNOWN = {"22.05": "n/s"}
"""How a version shows that a plugin has not measured yet; `n/a` from 23.11 on."""


class Shown:
    """A slurmctld that shows these nodes."""

    def __init__(self, nodes: str, every_s: int | None = 10) -> None:
        self.nodes = nodes
        self.config = "" if every_s is None else f"AcctGatherNodeFreq      = {every_s} sec\n"

    def run(
        self,
        program: str,
        *args: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        writes: bool = False,
        timeout_s: float | None = None,
    ) -> Completed:
        return Completed(0, self.config if args == ("show", "config") else self.nodes, "")

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        raise AssertionError(program)


def line(state: str = "IDLE", watts: str = "CurrentWatts=412 AveWatts=300") -> Shown:
    return Shown(f"NodeName=n1 CPUTot=64 State={state} ThreadsPerCore=1 {watts}\n")


def test_what_a_real_slurm_measures_and_what_it_no_longer_does() -> None:
    captured = Replay(json.loads((ASSETS / "22.05" / "watts.json").read_text()))
    silent = next(line for line in captured.calls[1]["out"].splitlines() if "NOT_RESPONDING" in line)
    assert "NodeName=gpu003" in silent
    assert "CurrentWatts=412" in silent, "it goes on showing what it knew last"
    assert inventory.read_node_watts(captured) == {"gpu001": 412, "gpu002": 412}


@pytest.fixture(params=VERSIONS)
def nodes(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A version, and four nodes as it shows them without a plugin."""
    calls = Replay.of(request.param)
    return request.param, calls.run("scontrol", "-a", "-d", "-o", "show", "node", env={}).out


def test_without_a_plugin_all_draw_nothing_which_is_no_measurement(nodes: tuple[str, str]) -> None:
    _, shown = nodes
    assert shown.count("CurrentWatts=0 ") == 4
    assert inventory.read_node_watts(Shown(shown)) == {}


def test_in_every_version(nodes: tuple[str, str]) -> None:
    version, shown = nodes
    first, second, third, fourth = shown.splitlines(keepends=True)
    unknown = UNKNOWN.get(version, "n/a")
    measured = Shown(
        first.replace("CurrentWatts=0", "CurrentWatts=812")
        + second.replace("CurrentWatts=0 AveWatts=0", f"CurrentWatts={unknown} AveWatts={unknown}")
        + third
        + fourth.replace("CurrentWatts=0", "CurrentWatts=90").replace("Reason=fan", "Reason=fan CurrentWatts=7")
    )
    assert inventory.read_node_watts(measured) == {"n01": 812, "n04": 90}


def test_what_is_known_since_registration_alone_counts_for_nothing() -> None:
    shown = line()
    assert inventory.read_node_watts(shown) == {"n1": 412}
    assert inventory.read_node_watts(Shown(shown.nodes, every_s=0)) == {}


@pytest.mark.parametrize(
    ("state", "known"),
    [
        *((state, True) for state in ("IDLE", "MIXED", "ALLOCATED+COMPLETING", "IDLE+DRAIN", "IDLE+PLANNED")),
        *((state, False) for state in ("IDLE+NOT_RESPONDING", "IDLE*", "DOWN", "DOWN+DRAIN", "UNKNOWN", "FUTURE")),
        *((f"IDLE+CLOUD+{state}", False) for state in ("POWERED_DOWN", "POWERING_DOWN", "POWERING_UP")),
        *((f"IDLE+{state}", False) for state in ("REBOOT_ISSUED", "INVALID_REG", "EXTERNAL")),
    ],
)
def test_nodes_that_slurmctld_does_not_ask_are_left_out(state: str, known: bool) -> None:
    assert bool(inventory.read_node_watts(line(state))) is known


@pytest.mark.parametrize(
    "watts",
    ["", "CurrentWatts=", "CurrentWatts=n/s", "CurrentWatts=n/a", "CurrentWatts=0", "CurrentWatts=4294967294"],
)
def test_what_is_no_measurement(watts: str) -> None:
    assert inventory.read_node_watts(line(watts=watts)) == {}


def test_a_node_without_a_state_is_left_out() -> None:
    assert inventory.read_node_watts(Shown("NodeName=n1 CurrentWatts=412\n")) == {}


def test_answers_that_cannot_be_read() -> None:
    with pytest.raises(SlurmParseError, match="AcctGatherNodeFreq"):
        inventory.read_node_watts(Shown(line().nodes, every_s=None))
    with pytest.raises(SlurmParseError, match="NodeName"):
        inventory.read_node_watts(Shown("what is this\n"))
