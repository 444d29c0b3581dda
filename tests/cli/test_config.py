"""spower config: what is wrong with a site file, what it comes to, and the reference."""

import json
from pathlib import Path

import pytest
import yaml

from slurm_power.cli import config
from slurm_power.cli.render import own_licences
from slurm_power.cli.site_view import as_yaml, effective
from slurm_power.config import load_site
from slurm_power.core.binding import feature_of, licence_plan
from slurm_power.ports import LicenseRecord, PartitionRecord
from tests.cli.conftest import run
from tests.cli.stage import SITE
from tests.fakes.slurm import FakeSlurm, make_nodes

WIDE = SITE.replace("limit: 62kW", "limit: 20kW")
"""Warns: zones wider than side A."""


def test_a_good_file(site: Path) -> None:
    result = run("config", "check", str(site))
    assert (result.exit_code, result.output) == (0, f"{site}: no problems; zones 3, nodes 6, feeds 3\n")


def test_the_file_of_the_environment_is_checked_without_an_argument(site: Path) -> None:
    result = run("config", "check", env={"SLURM_POWER_CONF": str(site)})
    assert result.output.startswith(f"{site}: no problems")


def test_every_problem_is_told_with_its_line(site: Path) -> None:
    site.write_text(SITE.replace("limit: 62kW", "limit: 62kX").replace("lane: cold", "lane: tepid"))
    result = run("config", "check", str(site))
    assert result.exit_code == 2
    first, second, summary = result.output.splitlines()
    assert first.startswith(f"{site}:5: feeds.ups-a.limit: '62kX' is not a power")
    assert second.startswith(f"{site}:11: zones.rack03.lane: 'tepid' is unknown; expected hot, cold or mixed")
    assert summary == f"{site}: 2 problems"
    rows = [
        line.split("|")
        for line in run("config", "check", str(site), "-P", "-o", "line,key").output.splitlines()
    ]
    assert rows == [["LINE", "KEY"], ["5", "feeds.ups-a.limit"], ["11", "zones.rack03.lane"]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "the file is empty"),
        (b"zones: [", "not YAML"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b"- a\n- b\n", "the file is not a mapping"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "site.yaml"
    if content is not None:
        path.write_bytes(content)
    for command in ("check", "show"):
        result = run("config", command, str(path))
        assert result.exit_code == 2
        assert told in result.output


def test_warnings_are_shown_and_do_not_count(site: Path) -> None:
    site.write_text(WIDE)
    result = run("config", "check", str(site))
    assert result.exit_code == 0
    assert f"warning: {site}:9: zones.rack01: is wider than side A carries alone" in result.output
    found = json.loads(run("config", "check", str(site), "--json").output)
    assert found["ok"] is True
    assert {finding["severity"] for finding in found["findings"]} == {"warning"}


class Slurm(FakeSlurm):
    """What the running Slurm says; stands in the place of the commands."""

    def __init__(self, path: Path, *, bare: bool = False) -> None:
        site = load_site(path)
        nodes = [
            node
            for zone in site.topology.zones.values()
            for node in make_nodes(
                ",".join(zone.nodes), features=["h100"] if bare else ["h100", feature_of(zone.name)]
            )
        ]
        super().__init__(
            nodes,
            licenses={} if bare else {**licence_plan(site.topology).counts, "matlab": 4},
            partitions=[PartitionRecord("main", "n[01-06]", default=True)],
        )


def use(monkeypatch: pytest.MonkeyPatch, slurm: Slurm) -> None:
    monkeypatch.setattr(config, "SlurmCommands", lambda _runner: slurm)


def test_the_running_slurm_is_compared(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Slurm(site))
    assert run("config", "check", "--slurm", str(site)).exit_code == 0
    use(monkeypatch, Slurm(site, bare=True))
    result = run("config", "check", "--slurm", str(site))
    assert result.exit_code == 2
    assert "zone rack01: nodes n[01-02] without Feature=pw_rack01" in result.output
    assert "licence pw_rack01: Slurm does not have it" in result.output


def test_a_slurm_that_cannot_be_asked(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for command in (["config", "check"], ["render", "slurm"]):
        result = run(*command, "--slurm", str(site))
        assert result.exit_code == 1
        assert "spower: cannot be started: No such file or directory" in result.output


def test_show_resolves_limits_and_what_may_be_planned(site: Path) -> None:
    site.write_text(WIDE)
    shown = yaml.safe_load(run("config", "show", str(site)).output)
    assert shown["zones"]["rack01"] == {
        "nodes": "n[01-02]",
        "lane": "hot",
        "redundancy": "2N",
        "feeds": ["ups-a", "ups-b", "loop"],
        "limit": "20kW",
        "margin": "10%",
        "usable": "18kW",
        "baseline": "1kW",
    }
    assert shown["feeds"]["ups-b"] == {
        "kind": "power",
        "side": "B",
        "limit": "60kW",
        "margin": "0%",
        "usable": "60kW",
    }
    assert shown["tiers"]["gold"] == {"qos": "gold", "notice": "never", "planned_cuts": "avoid"}
    assert shown["tiers"]["silver"]["notice"] == "00:10:00"
    assert shown["classes"]["overnight"] == {"tier": "bronze", "hours": "20:00-06:00"}
    assert shown["defaults"]["max_factor"] == 1.3
    assert shown["hook"]["control"] == "/run/slurm_power/control.sock"
    assert shown["hook"]["timeout"] == "100ms"


def test_show_for_programs(site: Path) -> None:
    found = json.loads(run("config", "show", str(site), "--json").output)
    zone = next(row for row in found["zones"] if row["name"] == "rack03")
    assert (zone["limit_w"], zone["usable_w"], zone["margin"]) == (20_000, 18_000, 0.1)
    rows = run("config", "show", str(site), "-hP", "-o", "kind,name,limit,usable").output.splitlines()
    assert rows[0] == "zone|rack01|30000|27000"
    assert rows[-1] == "cooling|loop|80000|80000"


def test_show_keeps_the_password_of_the_database(site: Path) -> None:
    site.write_text(SITE + 'state: {url: "postgresql://pw:hush@db/slurm_power"}\n')
    for form in ([], ["--json"]):
        text = run("config", "show", str(site), *form).output
        assert "hush" not in text
        assert "pw:***@db" in text


def test_every_section_is_shown_with_its_units(site: Path) -> None:
    site.write_text(
        SITE
        + """
telemetry:
  - {type: redfish, url: "https://root:hush@pdu-a/redfish", zone: rack01, every: 5s, stale: 30s}
  - {type: slurm, every: 10s, stale: 1m}
thermal: {steps: [{above: 32.5, less: 25%}], dwell: 3m}
metrics: {listen: "[::1]:9777"}
sla: {gold: {max_delay: 1h, error_budget: 1%}}
"""
    )
    data = json.loads(run("config", "show", str(site), "--json").output)
    redfish, slurm = data["telemetry"]
    assert (redfish["url"], redfish["every_s"], redfish["zone"]) == ("https://pdu-a/redfish", 5, "rack01")
    assert slurm == {"type": "slurm", "every_s": 10, "stale_s": 60, "timeout_s": 2}
    assert data["thermal"]["steps"] == [{"above": 32.5, "less": 0.25}]
    assert data["metrics"] == {"listen": "[::1]:9777"}
    assert data["sla"]["gold"]["max_delay_s"] == 3_600
    assert data["balance"] == {"moves": None, "above": 0.9}
    assert data["preemption"]["min_run_s"] == 600
    again = yaml.safe_load(run("config", "show", str(site)).output)
    assert again["telemetry"][1] == {"type": "slurm", "every": "00:00:10", "stale": "00:01:00", "timeout": "00:00:02"}
    assert set(again) >= set(data) - {"schema"} - {name for name, value in data.items() if value is None}


def test_tariffs_have_the_day_of_the_sites_clock(site: Path) -> None:
    tariff = "{from: 2027-01-01, currency: EUR, kwh: 0.2, tiers: {gold: 2}}"
    site.write_text(SITE.replace("timezone: UTC\n", "") + f"timezone: Asia/Tokyo\ntariff: {tariff}\n")
    (shown,) = json.loads(run("config", "show", str(site), "--json").output)["tariffs"]
    assert (shown["from"], shown["kwh"], shown["tiers"]) == ("2027-01-01", 0.2, {"gold": 2.0})


def test_the_shipped_example_is_shown_whole() -> None:
    example = Path(__file__).parents[2] / "etc" / "slurm_power.yaml"
    data = effective(load_site(example))
    again = yaml.safe_load(as_yaml(data))
    assert list(again["zones"]) == [zone["name"] for zone in data["zones"]]
    assert again["partitions"]["train"] == {
        "zones": "rack[01-02]",
        "node": "10.2kW",
        "gpu": "700W",
        "gpu_factor": 0.9,
        "overhead": "2kW",
    }


def test_the_reference_is_the_page_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    assert run("config", "reference").output == page
    assert json.loads(run("config", "reference", "--json").output) == {"schema": 1, "markdown": page}


def test_licences_of_the_site_itself() -> None:
    records = [
        LicenseRecord("matlab", 10, 2),
        LicenseRecord("pw_rack01", 100, 0),
        LicenseRecord("fluent@flex", 5, 0),
        LicenseRecord("power(n[1-2])", 5, 0),
        LicenseRecord("abaqus", 3, 3),
    ]
    assert own_licences(records) == "matlab:10,abaqus:3"
