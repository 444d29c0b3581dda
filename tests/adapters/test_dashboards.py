"""Rules and dashboards: they name only what there is, their expressions can be read, and each alert fires."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_power.ports.metrics import MetricKind
from tests.adapters.prometheus import ROOT, RULES, promtool
from tests.service.watched import Watched

DASHBOARDS = sorted((ROOT / "etc" / "grafana").glob("*.json"))
TESTS = sorted(RULES.parent.glob("*.test.yml"))
NAME = re.compile(r"(?<![\w:\"])(slurm_power[\w:]*|process_\w+|up|ALERTS)(?![\w:\"(])")
FOREIGN = {"up", "ALERTS", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$zone": ".*", "$feed": ".*"}


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def expressions(path: Path) -> list[str]:
    """All of a dashboard."""
    board = json.loads(path.read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked = [re.findall(r"label_values\((\w+), \w+\)", str(one["query"])) for one in board["templating"]["list"]]
    return [*found, *(name for names in asked for name in names)]


@pytest.fixture(scope="module")
def there() -> set[str]:
    """The names of all that can be asked for."""
    rig = Watched()
    names = {*FOREIGN, *(str(rule["record"]) for rule in rules() if "record" in rule)}
    for metric in rig.metrics().values():
        ends = ("_bucket", "_sum", "_count") if metric.kind is MetricKind.HISTOGRAM else ("",)
        names.update(metric.name + end for end in ends)
    rig.end()
    return names


def test_promtool_reads_the_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", *map(str, TESTS))


def test_each_alert_is_tested_and_says_what_it_is() -> None:
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case.get("exp_alerts")}
    alerts = [rule for rule in rules() if "alert" in rule]
    assert {rule["alert"] for rule in alerts} == fired
    assert {rule["labels"]["severity"] for rule in alerts} == {"critical", "warning", "info"}
    assert all(rule["annotations"]["summary"] for rule in alerts)


def test_each_alert_has_its_row_of_what_to_do() -> None:
    rows = re.findall(r"^\| (SlurmPower\w*) \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(rule["alert"] for rule in rules() if "alert" in rule)


def test_rules_name_only_what_there_is(there: set[str]) -> None:
    named = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    assert len(named) > 30
    assert named - there == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_name_only_what_there_is(path: Path, there: set[str]) -> None:
    found = expressions(path)
    assert len(found) > 10
    assert {name for one in found for name in NAME.findall(one)} - there == set()


def test_expressions_of_dashboards_can_be_read(tmp_path: Path) -> None:
    """promtool reads expressions in rules alone."""
    text = json.dumps([one for path in DASHBOARDS for one in expressions(path)])
    for variable, value in VARIABLES.items():
        text = text.replace(variable, value)
    assert "$" not in text
    wrapped = [{"record": f"dashboards:n{number}", "expr": one} for number, one in enumerate(json.loads(text))]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": wrapped}]}))
    promtool("check", "rules", str(file))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_whole(path: Path) -> None:
    """Each panel has its place and number, and all ask the data source that is chosen."""
    board = json.loads(path.read_text())
    panels = board["panels"]
    assert board["uid"] == f"slurm-power-{path.stem}"
    assert board["templating"]["list"][0]["type"] == "datasource"
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    sources = {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", ())}
    assert sources == {"${datasource}"}
