from dataclasses import replace

import pytest

from slurm_power.config import Finding, Severity, Site, check_against_slurm, load_site
from slurm_power.config.against_slurm import Aspect
from slurm_power.ports import LicenseRecord, NodeRecord, PartitionRecord

SITE = load_site(
    text="feeds: {pdu: {limit: 15kW}}\n"
    "zones:\n"
    "  rack1: {nodes: 'n[1-3]', limit: 10kW, margin: 0, feeds: [pdu]}\n"
    "  rack2: {nodes: 'n[4-5]', limit: 10kW, margin: 0, baseline: 500W, feeds: [pdu]}\n"
    "partitions: {train: {zones: 'rack[1-2]'}}\n"
)


def node(name: str, zone: str) -> NodeRecord:
    return NodeRecord(name, True, 8, 0, 0, 0, features=("h100", f"pw_{zone}"))


NODES = [*(node(f"n{i}", "rack1") for i in (1, 2, 3)), *(node(f"n{i}", "rack2") for i in (4, 5))]
PARTITIONS = [PartitionRecord("train", "n[1-5]")]
LICENSES = [
    LicenseRecord("matlab", 3, 0),
    LicenseRecord("pw_pdu", 14_500, 0),
    LicenseRecord("pw_rack1", 10_000, 4_000),
    LicenseRecord("pw_rack2", 9_500, 0),
]


def found(
    site: Site = SITE,
    nodes: list[NodeRecord] = NODES,
    partitions: list[PartitionRecord] = PARTITIONS,
    licenses: list[LicenseRecord] = LICENSES,
) -> list[str]:
    return [
        f"{finding.severity}: {finding.text}"
        for finding in check_against_slurm(site, nodes, partitions, licenses)
    ]


def test_nothing_to_say() -> None:
    assert check_against_slurm(SITE, NODES, PARTITIONS, LICENSES) == ()


def test_a_finding_is_data() -> None:
    (finding,) = check_against_slurm(SITE, NODES[1:], PARTITIONS, LICENSES)
    assert finding == Finding(Severity.ERROR, "zone rack1: Slurm does not have node n1", Aspect.NODES, "rack1")


def test_nodes_that_slurm_does_not_have() -> None:
    assert found(nodes=NODES[:1]) == [
        "error: zone rack1: Slurm does not have nodes n[2-3]",
        "error: zone rack2: Slurm does not have nodes n[4-5]",
    ]


def test_nodes_without_the_feature_of_their_zone_and_with_anothers() -> None:
    moved = replace(NODES[1], features=("pw_rack2",))
    outside = NodeRecord("login", True, 8, 0, 0, 0, features=("pw_old",))
    assert found(nodes=[NODES[0], moved, *NODES[2:], outside]) == [
        "error: zone rack1: node n2 without Feature=pw_rack1 on the NodeName line of slurm.conf",
        "error: Feature=pw_old on node login, which the site file does not have in that zone",
        "error: Feature=pw_rack2 on node n2, which the site file does not have in that zone",
    ]


@pytest.mark.parametrize(
    ("partitions", "texts"),
    [
        ([], ["error: partition train: Slurm does not have it"]),
        (
            [
                *PARTITIONS,
                PartitionRecord("cpu", "c[1-9]"),
                PartitionRecord("none", ""),
                PartitionRecord("null", "(null)"),
            ],
            ["warning: partition cpu: none of its nodes lies in a zone, so its jobs are not counted"],
        ),
        (
            [PartitionRecord("train", "n[1-5],c[1-2]")],
            ["warning: partition train: nodes c[1-2] in no zone; watts drawn there are not counted"],
        ),
        ([PartitionRecord("train", "n[1-3]")], ["warning: partition train: no node of it lies in rack2"]),
    ],
)
def test_partitions(partitions: list[PartitionRecord], texts: list[str]) -> None:
    assert found(partitions=partitions) == texts


def test_licences() -> None:
    wrong = [
        LicenseRecord("pw_rack1", 9_999, 0),
        LicenseRecord("pw_pdu", 14_500, 0),
        LicenseRecord("pw_gone", 1, 0),
    ]
    assert found(licenses=wrong) == [
        "warning: licence pw_rack1: Slurm counts 9999, the site file means 10000",
        "error: licence pw_rack2: Slurm does not have it; Licenses= in slurm.conf needs pw_rack2:9500",
        "warning: licence pw_gone: no zone or feed of the site file needs it",
    ]


def test_without_native_licences_none_is_asked_for() -> None:
    none = replace(SITE, policy=load_site(text="native: none\nzones: {z: {nodes: n1, limit: 1}}").policy)
    assert found(site=replace(none, policy=replace(none.policy, partitions={})), licenses=[]) == []
