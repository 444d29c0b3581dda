from pathlib import Path

import pytest

from slurm_power.config import load_site
from slurm_power.ports import NodeRecord
from slurm_power.render import licences_line, node_features, sacctmgr_commands, slurm_fragment

TEXT = (
    "feeds: {pdu: {limit: 15kW}}\n"
    "zones:\n"
    "  rack1: {nodes: 'n[1-3]', limit: 10kW, margin: 0, feeds: [pdu]}\n"
    "  rack2: {nodes: 'n[4-5]', limit: 10kW, margin: 0, baseline: 500W, feeds: [pdu]}\n"
    "hook: {gate_wait: 45s}\n"
)
SITE = load_site(Path("/etc/slurm/slurm_power.yaml"), text=TEXT)
LICENSES = "Licenses=pw_rack1:10000,pw_rack2:9500,pw_pdu:14500"


def settings(fragment: str) -> list[str]:
    return [line for line in fragment.splitlines() if line and not line.startswith("#")]


def test_what_slurm_conf_needs() -> None:
    assert settings(slurm_fragment(SITE, lua_dir="/opt/lua")) == [
        LICENSES,
        "JobSubmitPlugins=lua",
        "PrologSlurmctld=/opt/lua/power_prolog",
        "EpilogSlurmctld=/opt/lua/power_epilog",
    ]


def test_own_licences_are_kept() -> None:
    assert f"Licenses=matlab:2,{LICENSES.partition('=')[2]}" in slurm_fragment(SITE, licences="matlab:2")
    assert licences_line(SITE, "matlab:2").startswith("Licenses=matlab:2,pw_rack1:10000,")


@pytest.mark.parametrize(("own", "lines"), [("", []), ("matlab:2", ["Licenses=matlab:2"])])
def test_without_native_counting_there_are_no_licences_of_ours(own: str, lines: list[str]) -> None:
    fragment = slurm_fragment(load_site(text="native: none\n" + TEXT), licences=own)
    assert [line for line in settings(fragment) if line.startswith("Licenses")] == lines
    assert "Feature=pw_rack1" in fragment


def test_features_by_node_line() -> None:
    fragment = slurm_fragment(SITE)
    assert "# NodeName=n[1-3] Feature=pw_rack1 ..." in fragment
    assert "# NodeName=n[4-5] Feature=pw_rack2 ..." in fragment
    nodes = [
        NodeRecord("n1", True, 8, 0, 0, 0, features=("h100", "ib", "pw_old")),
        NodeRecord("n2", True, 8, 0, 0, 0, features=("h100", "ib")),
        NodeRecord("n3", True, 8, 0, 0, 0),
    ]
    known = slurm_fragment(SITE, nodes=nodes)
    assert "# NodeName=n[1-2] Feature=h100,ib,pw_rack1 ..." in known
    assert "# NodeName=n3 Feature=pw_rack1 ..." in known
    assert node_features(SITE) == {
        "n1": "pw_rack1",
        "n2": "pw_rack1",
        "n3": "pw_rack1",
        "n4": "pw_rack2",
        "n5": "pw_rack2",
    }


def test_advice_stands_in_comments() -> None:
    comments = " ".join(line for line in slurm_fragment(SITE).splitlines() if line.startswith("#"))
    for advice in (
        "Never set bf_licenses",
        "# PrologEpilogTimeout=75",
        "# PreemptType=preempt/qos",
        "ACCRUE_ALWAYS",
    ):
        assert advice in comments


@pytest.mark.parametrize(
    ("version", "several", "reclaim"),
    [((22, 5, 8), False, False), ((23, 11, 0), False, True), ((24, 11, 5), True, True)],
)
def test_advice_by_version(version: tuple[int, int, int], several: bool, reclaim: bool) -> None:
    fragment = slurm_fragment(SITE, version=version)
    assert ("never listed beside it" in " ".join(fragment.split("\n# "))) is several
    assert ("reclaim_licenses" in fragment) is reclaim


def test_every_line_is_plain_and_short() -> None:
    fragment = slurm_fragment(SITE, version=(26, 5, 5))
    assert fragment.isascii()
    assert max(len(line) for line in fragment.splitlines()) <= 100


def test_qos_of_the_tiers() -> None:
    assert sacctmgr_commands(SITE) == (
        ("sacctmgr", "-i", "add", "qos", "bronze"),
        (
            "sacctmgr",
            "-i",
            "modify",
            "qos",
            "bronze",
            "set",
            "Priority=1000",
            "GraceTime=0",
            "PreemptMode=requeue",
        ),
        ("sacctmgr", "-i", "add", "qos", "silver"),
        (
            *("sacctmgr", "-i", "modify", "qos", "silver", "set"),
            *("Priority=2000", "GraceTime=600", "Preempt=bronze", "PreemptMode=requeue"),
        ),
        ("sacctmgr", "-i", "add", "qos", "gold"),
        (
            *("sacctmgr", "-i", "modify", "qos", "gold", "set"),
            *("Priority=3000", "GraceTime=0", "Preempt=silver,bronze"),
        ),
    )


def test_a_tier_that_is_never_preempted_is_nobodys_victim() -> None:
    site = load_site(
        text=TEXT + "tiers: {gold: {notice: never}, silver: {qos: s, notice: never}, bronze: {}}\n"
    )
    commands = {command[4]: command for command in sacctmgr_commands(site) if command[2] == "modify"}
    assert "Preempt=bronze" in commands["gold"]
    assert "Preempt=bronze" in commands["s"]
    assert not any(part.startswith("Preempt=") for part in commands["bronze"])
