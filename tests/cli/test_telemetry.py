"""spower telemetry: what is measured, what disagrees, what is silent, and which source cannot be read."""

import json
import logging
from typing import Any

from slurm_power.ports import Kind, Quantity, Reading
from slurm_power.service.draws import Element, Feeler, Sensor
from slurm_power.service.measuring import take
from tests.cli.conftest import run
from tests.cli.stage import Stage
from tests.cli.test_schemas import faults

ZONE = Element(Kind.ZONE, "rack01")


def measure(stage: Stage, source: str, watts: float) -> None:
    take(stage.desk, source, [Reading(Kind.ZONE, "rack01", Quantity.POWER, watts)])


def follow(stage: Stage) -> None:
    feelers = [
        Feeler(name, 60, 5, frozenset({Sensor(element)}))
        for name, element in (("pdu", ZONE), ("bmc", ZONE), ("cdu", Element(Kind.FEED, "ups-a")))
    ]
    stage.desk.measured.draws.follow(feelers, stage.desk.site.control)


def shown(stage: Stage, *args: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("telemetry", *args, "--json", "--socket", str(stage.socket)).output)
    assert faults("telemetry", found) == []
    return found


def text(stage: Stage, *args: str) -> str:
    return " ".join(run("telemetry", *args, "--socket", str(stage.socket)).output.split())


def test_nothing_is_measured(stage: Stage) -> None:
    assert "Nothing is measured" in text(stage)
    assert shown(stage)["elements"] == []


def test_what_is_known_of_each_element(stage: Stage) -> None:
    follow(stage)
    measure(stage, "pdu", 10_000)
    measure(stage, "bmc", 8_000)
    stage.desk.measured.troubles.note("cdu", "no answer within 2 s", "telemetry", logging.getLogger("x"))
    feed, zone = sorted(shown(stage)["elements"], key=lambda row: row["kind"])
    assert (zone["element"], zone["smooth_w"], zone["stale"]) == ("rack01", 10_000, False)
    assert (zone["least_w"], zone["most_w"], zone["doubts"]) == (8_000, 10_000, [])
    assert (feed["element"], feed["smooth_w"], feed["stale"]) == ("ups-a", 5_000, True)  # at least, by rack01
    assert feed["doubts"] == [{"source": "cdu", "text": "nothing has come yet"}]
    told = text(stage)
    assert "cdu: no answer within 2 s" in told
    assert "its sources say 8kW and 10kW" in told
    assert [row["element"] for row in shown(stage, "rack01")["elements"]] == ["rack01"]


def test_what_is_wrong_with_a_reading(stage: Stage) -> None:
    follow(stage)
    measure(stage, "pdu", float("nan"))
    assert "pdu: is no number; nothing fit has come yet" in text(stage)


def test_zones_show_it_beside_what_is_committed(stage: Stage) -> None:
    follow(stage)
    measure(stage, "pdu", 10_000)
    assert "MEASURED STRAY SLURM" in " ".join(run("zones", "--socket", str(stage.socket)).output.split())
    assert "max counts there" in run("zones", "--socket", str(stage.socket)).output
