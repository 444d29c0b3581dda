"""sreservation usage, and what spower report and explain say of energy, cost, service levels and holders."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from slurm_power.cli.sreservation import sreservation
from slurm_power.core.usage import Usage
from slurm_power.ports import Decision
from tests.cli.conftest import Scene, run
from tests.cli.stage import ALICE, SITE, Stage, play, short_directory
from tests.cli.test_schemas import faults

PRICED = SITE + (
    "tariff: {currency: EUR, kwh: 0.20, reserved_kwh: 0.05}\n"
    "sla: {gold: {max_delay: 30m, error_budget: 1%, max_shortfall: 0s, max_burst_shortfall: 10m, min_run: 1h}}\n"
)
PERIOD = ("-S", "2026-01-01T00:00:00Z", "-E", "2026-01-02T00:00:00Z")
DAY = 1_767_225_600
"""2026-01-01T00:00:00Z."""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with short_directory() as directory, Stage(directory, PRICED).open() as stage:
        jobs = play(stage)
        stage.store.add_usage(
            [
                Usage("", "research", ALICE, "gold", DAY, jobs_ws=3_600_000_000, runs=4, missed=1),
                Usage("", "research", ALICE, "gold", DAY, ended_ws=3, off_ws=1),
                Usage("r1", "research", 0, "gold", DAY + 3_600, reserved_ws=7_200_000, used_ws=3_600_000),
                Usage("", "ops,it", 7, "bronze", DAY, jobs_ws=1_800_000),
                Usage("", "late", 7, "bronze", DAY + 86_400, jobs_ws=1_800_000),
            ],
            1 << 50,
        )
        missed = Decision(DAY + 9, "sla", "enforce", job="7", uid=ALICE, account="research", rule="sla.gold")
        stage.store.record([replace(missed, cause=cause) for cause in ("watts", "burst", "watts")])
        yield Scene(stage, jobs)


def usage(scene: Scene, *args: str) -> Result:
    words = ("usage", "--socket", str(scene.stage.socket), *args)
    return CliRunner().invoke(sreservation, words, prog_name="sreservation")


TABLE = """\
From 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z, by account.

ACCOUNT   RESERVED      USED         JOBS    USE  HONOURED  RUNS  ACCURACY  SCORE  CEILING  COST
ops,it    0.000kWh  0.000kWh     0.500kWh      -         -     0         -      -    60.0%  0.10 EUR
research  2.000kWh  1.000kWh  1000.000kWh  50.0%    100.0%     4     75.0%      -    60.0%  200.05 EUR

ZONE    USABLE  COMMITTED  RESERVED UNUSED   ROOM  LEAST WAITING  STRANDED ROOM
rack01    27kW     19.5kW               0W  7.5kW           24kW          7.5kW
rack02    27kW        1kW               0W   26kW              -             0W
rack03    18kW         0W               0W   18kW              -             0W
"""


def test_usage_for_people(scene: Scene) -> None:
    result = usage(scene, *PERIOD)
    assert (result.exit_code, result.output.replace("_", " ")) == (0, TABLE)


def test_usage_as_comma_separated_values(scene: Scene) -> None:
    assert usage(scene, *PERIOD, "--csv", "-o", "name,reserved,jobs,use,cost").output == (
        "name,reserved_wh,jobs_wh,use,cost\n"
        '"ops,it",0,500,,0.10 EUR\n'
        "research,2000,1000000,0.5,200.05 EUR\n"
    )
    assert usage(scene, *PERIOD, "--csv", "-h").output.splitlines()[1].startswith("research,,,2000,1000,1000000,0.5")


def test_usage_for_programs(scene: Scene) -> None:
    header, *rows = (line.split("|") for line in usage(scene, *PERIOD, "-P").output.splitlines())
    assert (header[0], header[3], len(header)) == ("NAME", "RESERVED_WH", 13)
    assert [row[0] for row in rows] == ["ops,it", "research"]


def test_one_form_at_a_time(scene: Scene) -> None:
    assert usage(scene, "--csv", "--json").exit_code == 2
    assert usage(scene, "--by", "colour").exit_code == 2


@pytest.mark.parametrize("by", ["account", "user", "reservation", "tier"])
def test_usage_as_json(scene: Scene, by: str) -> None:
    answer = json.loads(usage(scene, *PERIOD, "--by", by, "--json").output)
    assert faults("usage", answer) == []
    assert sum(row["jobs_wh"] for row in answer["rows"]) == 1_000_500


def test_names_of_what_is_counted(scene: Scene) -> None:
    def shown(by: str, column: str = "name") -> list[str]:
        return usage(scene, *PERIOD, "--by", by, "--csv", "-h", "-o", column).output.split()

    assert shown("user", "uid") == ["0", str(ALICE), "7"]
    assert shown("user")[0] == "root"
    assert shown("reservation") == ["(none)", "r1"]
    assert shown("tier") == ["bronze", "gold"]


def test_no_usage(scene: Scene) -> None:
    result = usage(scene, "-S", "2025-01-01T00:00:00Z", "-E", "2025-01-02T00:00:00Z", "-h")
    assert result.output.splitlines()[1] == "No usage."


def test_service_levels(scene: Scene) -> None:
    answer = json.loads(scene.spower("report", "--sla", "-S", "2026-01-01T00:00:00Z", "--json").output)
    assert faults("levels", answer) == []
    found = scene.spower("report", "--sla", "-S", "2026-01-01T00:00:00Z", "-P").output.splitlines()
    assert found[1] == "gold|1800|0|600|3600|0.01|4|1|0.25|no|burst=1,watts=2"
    shown = scene.spower("report", "--sla", "-S", "2026-01-01T00:00:00Z").output
    assert "MAX_SHORTFALL" in shown
    assert "burst 1, watts 2" in shown


def test_who_holds_what_and_until_when(scene: Scene) -> None:
    answer = json.loads(scene.spower("report", "--holders", "--json").output)
    assert faults("holders", answer) == []
    [held] = answer["holders"]
    assert (held["zone"], held["kind"], held["name"], held["watts_w"], held["used_w"]) == (
        "rack01", "job", scene.jobs["runs"], 18_500, 18_500,
    )  # fmt: skip
    assert json.loads(scene.spower("report", "--holders", "-z", "rack02", "--json").output)["holders"] == []
    assert "rack01" in scene.spower("report", "--holders").output


@pytest.mark.parametrize(
    "words", ["--sla --holders", "--sla --would", "--sla -o job", "-z rack01", "--holders -z nowhere"]
)
def test_reports_that_make_no_sense(scene: Scene, words: str) -> None:
    assert scene.spower("report", *words.split()).exit_code == 2


def test_a_job_knows_its_energy_and_its_cost(scene: Scene) -> None:
    found = json.loads(scene.spower("explain", scene.jobs["runs"], "--json").output)
    assert faults("explain", found) == []
    assert found["share"]["limit_wh"] == 18_500
    assert found["share"]["limit_costs"] == [{"currency": "EUR", "amount": "3.70"}]
    text = scene.spower("explain", scene.jobs["waits"]).output
    assert "at limit        24.000kWh" in text
    assert "cost at limit   4.80 EUR" in text


def test_a_reservation_that_nobody_uses(stage: Stage) -> None:
    """Who has it, until when, and when its watts return; and they are told to be unused."""
    words = ("create", "spring", "--zones=rack02", "-w", "10kW", "-d", "2:00:00", "-A", "research", "--grace", "15")
    made = CliRunner().invoke(sreservation, [*words, "--socket", str(stage.socket)], prog_name="sreservation")
    assert made.exit_code == 0, made.output
    stage.round()
    answer = json.loads(run("report", "--holders", "--json", "--socket", str(stage.socket)).output)
    assert faults("holders", answer) == []
    [held] = answer["holders"]
    assert (held["kind"], held["state"], held["accounts"], held["used_w"]) == ("reservation", "active", ["research"], 0)
    assert held["since"] < held["returns_at"] < held["until"]
    assert held["otherwise"] == "if no job of it runs by then, its watts return to everybody"
    assert {zone["zone"]: zone["unused_w"] for zone in answer["zones"]} == {"rack01": 0, "rack02": 10_000, "rack03": 0}
