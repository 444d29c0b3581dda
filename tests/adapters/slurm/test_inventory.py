"""Nodes, partitions, licences, QOS and fair shares as real Slurms printed them."""

from collections.abc import Iterator, Mapping

import pytest

from slurm_power.adapters.slurm import inventory
from slurm_power.adapters.slurm.runner import Completed
from slurm_power.core.errors import SlurmError, SlurmParseError
from slurm_power.ports import LicenseRecord, PartitionRecord, QosRecord
from tests.adapters.slurm.replay import VERSIONS, Replay


@pytest.fixture(params=VERSIONS)
def replay(request: pytest.FixtureRequest) -> Replay:
    return Replay.of(request.param)


def test_nodes(replay: Replay) -> None:
    nodes = {node.name: node for node in inventory.read_nodes(replay)}
    assert list(nodes) == ["n01", "n02", "n03", "n04"]
    first = nodes["n01"]
    assert (first.cpus, first.gpus, first.memory_mb) == (64, 8, 100_000)
    assert 0 < first.cpus_alloc < 64
    assert 0 < first.gpus_alloc <= 8
    assert first.features == ("rack01", "h100")
    assert set(first.partitions) == {"train", "long"}


def test_a_drained_node_whose_reason_says_otherwise(replay: Replay) -> None:
    (node,) = [node for node in inventory.read_nodes(replay) if not node.up]
    assert (node.name, node.cpus) == ("n04", 64)


def test_partitions(replay: Replay) -> None:
    assert inventory.read_partitions(replay) == [
        PartitionRecord("train", "n[01-04]", True, 604_800, 3_600),
        PartitionRecord("long", "n[01-02]", False, None, None),
    ]


def test_licences(replay: Replay) -> None:
    assert inventory.read_licenses(replay) == [
        LicenseRecord("matlab", 5, 0),
        LicenseRecord("rack01_w", 40_000, 100),
        LicenseRecord("rack02_w", 40_000, 0),
    ]


def test_qos(replay: Replay) -> None:
    assert inventory.read_qos(replay) == [
        QosRecord("normal", 0),
        QosRecord("bronze", 1_000, (), "requeue"),
        QosRecord("silver", 2_000, ("bronze",), "requeue", grace_s=600, exempt_s=300),
        QosRecord("gold", 3_000, ("bronze", "silver")),
    ]


def test_fair_shares(replay: Replay) -> None:
    shares = inventory.read_fair_shares(replay)
    assert set(shares) == {("root", "root"), ("research", "root"), ("research", "nobody")}
    assert all(0 <= share <= 1 for share in shares.values())


class Answering:
    """A Slurm that always says the same."""

    def __init__(self, out: str = "", err: str = "", status: int = 0) -> None:
        self.answer = Completed(status, out, err)

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
        return self.answer

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        raise AssertionError(program)


NO_ACCOUNTING = (
    "You are not running a supported accounting_storage plugin\n"
    "Only 'accounting_storage/slurmdbd' is supported.\n"
)


def test_a_cluster_without_accounts_has_neither_qos_nor_shares() -> None:
    assert inventory.read_qos(Answering(err=NO_ACCOUNTING, status=1)) == []
    assert inventory.read_fair_shares(Answering(err=NO_ACCOUNTING, status=1)) == {}
    assert inventory.read_privileges(Answering(err=NO_ACCOUNTING, status=1)) == []


def test_a_slurmdbd_that_is_down_is_an_error() -> None:
    with pytest.raises(SlurmError, match="Connection refused"):
        inventory.read_qos(Answering(err="sacctmgr: error: Connection refused", status=1))


def test_of_a_users_shares_in_one_account_the_best_counts() -> None:
    shares = Answering("root||\n research||\n  research|bob|0.25\n  research|bob|0.5\n  research|eve|\n")
    assert inventory.read_fair_shares(shares) == {("research", "bob"): 0.5}


def test_no_licences() -> None:
    assert inventory.read_licenses(Answering("No licenses configured in Slurm.\n")) == []


def test_layers_of_a_hierarchical_resource_keep_apart() -> None:
    out = (
        "LicenseName=power Total=40000 Used=100 Free=39900 Reserved=0 Remote=no Nodes=n[1-4] Mode=3\n"
        "LicenseName=power Total=20000 Used=50 Free=19950 Reserved=0 Remote=no Nodes=n[1-2] Mode=3\n"
    )
    assert [record.name for record in inventory.read_licenses(Answering(out))] == ["power(n[1-4])", "power(n[1-2])"]


def test_the_slurm_user() -> None:
    shown = "SlurmdUser              = root(0)\nSlurmUser               = slurm(64030)\nSlurmctldPort = 6817\n"
    assert inventory.read_slurm_user(Answering(shown)) == 64_030


@pytest.mark.parametrize(
    ("read", "out"),
    [
        (inventory.read_nodes, "what is this\n"),
        (inventory.read_partitions, "PartitionName\n"),
        (inventory.read_qos, "gold|1\n"),
        (inventory.read_fair_shares, "gold\n"),
        (inventory.read_slurm_user, "SlurmUser = slurm\n"),
    ],
)
def test_output_that_cannot_be_read_is_an_error(read: object, out: str) -> None:
    assert callable(read)
    with pytest.raises(SlurmParseError):
        read(Answering(out))


@pytest.mark.parametrize(
    ("state", "usable"),
    [
        ("IDLE", True),
        ("MIXED+PLANNED", True),
        ("ALLOCATED", True),
        ("COMPLETING", True),
        ("IDLE+CLOUD+POWERED_DOWN", True),
        ("IDLE~", True),
        ("MIXED+RESERVED", True),
        ("IDLE+DRAIN", False),
        ("IDLE*", False),
        ("DOWN*+DRAIN", False),
        ("IDLE+NOT_RESPONDING", False),
        ("IDLE+MAINTENANCE", False),
        ("IDLE+POWERING_DOWN", False),
        ("IDLE+DRAIN+INVALID_REG", False),
        ("FUTURE", False),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_on_which_nodes_jobs_would_start(state: str, usable: bool) -> None:
    assert inventory.usable(state) is usable


def test_gpus_of_a_site_that_does_not_track_them() -> None:
    out = (
        "NodeName=n1 CPUAlloc=2 CPUTot=64 ActiveFeatures=(null) Gres=gpu:h100:8(S:0-1) GresUsed=gpu:h100:3(IDX:0-2)"
        " RealMemory=1000 AllocMem=10 State=MIXED Partitions=p CfgTRES=cpu=64 AllocTRES=cpu=2\n"
    )
    (node,) = inventory.read_nodes(Answering(out))
    assert (node.gpus, node.gpus_alloc, node.features) == (8, 3, ())


@pytest.mark.parametrize("mark", ["\x0b", "\x1c", "\x85", "\u2028"])
def test_a_reason_cannot_bring_a_node(mark: str) -> None:
    out = f"NodeName=n1 CPUTot=64 State=IDLE+DRAIN Reason=bad{mark}NodeName=n2 CPUTot=64 State=IDLE\n"
    (node,) = inventory.read_nodes(Answering(out))
    assert (node.name, node.up) == ("n1", False)


@pytest.mark.parametrize(
    ("value", "private"),
    [
        ("none", set()),
        ("jobs", {"jobs"}),
        ("accounts,cloud,events,jobs,nodes", {"accounts", "cloud", "events", "jobs", "nodes"}),
    ],
)
def test_private_data(value: str, private: set[str]) -> None:
    shown = f"PriorityWeightTRES      = (null)\nPrivateData             = {value}\nProctrackType           = x\n"
    assert inventory.read_private_data(Answering(shown)) == private


@pytest.mark.parametrize("shown", ["", "PrivateDataX = jobs\n", "Comment = PrivateData = jobs\n"])
def test_a_configuration_that_does_not_tell(shown: str) -> None:
    with pytest.raises(SlurmParseError, match="no PrivateData"):
        inventory.read_private_data(Answering(shown))
