"""spower profiles, and what spower check says beside them."""

import json
from collections.abc import Iterator

import pytest

from slurm_power.core.sketch import Sketch
from slurm_power.ports import StoredProfile
from tests.cli.conftest import Scene, run
from tests.cli.stage import Stage, short_directory
from tests.cli.test_schemas import faults

SEEN = 1_767_225_600
"""2026-01-01T00:00:00Z."""


def stored(name: str, runs: int, *values: tuple[int, int], account: str = "research", gpus: int = 0) -> StoredProfile:
    sketch = Sketch()
    for watts, seconds in values:
        sketch.add(watts, seconds)
    numbers = {"runs": runs, "measured_s": sketch.total, "peak_w": sketch.peak_w, "before_w": 0, "halved_at": SEEN}
    return StoredProfile(account, name, "main", gpus, SEEN, {**numbers, "sketch": sketch.stored()})


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with short_directory() as directory, Stage(directory).open() as stage:
        stage.store.save_profiles(
            [
                stored("train", 12, (4_000, 5_000), (5_000, 4_000)),
                stored("tune", 2, (1_000, 600), gpus=4),
                stored("train", 100, (900, 36_000), account="ops"),
            ]
        )
        stage.rounds.usage.load(stage.store)
        yield Scene(stage, {})


TABLE = """\
ACCOUNT   NAME   PARTITION  GPUS  RUNS  HOURS      P50      P95  PEAK      EST      MAX
ops       train  main          0   100   10.0     899W     899W  900W     944W     945W
research  train  main          0    12    2.5  3.998kW  4.977kW   5kW  5.699kW  5.725kW
research  tune   main          4     2    0.2      1kW      1kW   1kW        -        -
"""


def test_for_people(scene: Scene) -> None:
    assert scene.spower("profiles").output == TABLE


def test_for_programs(scene: Scene) -> None:
    answer = json.loads(scene.spower("profiles", "--json").output)
    assert faults("profiles", answer) == []
    assert [(row["account"], row["est_w"]) for row in answer["profiles"]] == [
        ("ops", 944), ("research", 5_699), ("research", None),
    ]  # fmt: skip
    assert scene.spower("profiles", "-n", "tune", "--csv", "-o", "name,hours,measured_s,peak,est,seen").output == (
        "name,hours,measured_s,peak_w,est_w,seen_at\ntune,0.2,600,1000,,2026-01-01T00:00:00Z\n"
    )


def test_those_of_an_account_or_a_name(scene: Scene) -> None:
    assert len(scene.spower("profiles", "-A", "research", "-h").output.splitlines()) == 2
    assert scene.spower("profiles", "-n", "train", "-P", "-h", "-o", "account").output == "ops\nresearch\n"
    assert scene.spower("profiles", "-A", "none").output == "Nothing has been learnt yet.\n"


def test_check_goes_by_the_profile_and_gives_advice(scene: Scene) -> None:
    words = ("check", "-A", "research", "-J", "train", "--exclusive", "-t", "60", "--json")
    learnt = json.loads(scene.spower(*words).output)
    assert faults("check", learnt) == []
    assert (learnt["est_from"], learnt["est_w"], learnt["max_w"]) == ("profile", 5_699, 5_725)
    declared = json.loads(scene.spower(*words, "--comment", "power:est=9kW").output)
    assert (declared["est_from"], declared["est_w"]) == ("declared", 9_000)
    assert "its last 12 runs drew 4.977kW at the 95th percentile and 5kW at most; est=9kW keeps" in declared["advice"]
    later = json.loads(scene.spower(*words, "--comment", "power:est=9kW", "--at", "now+1hour").output)
    assert "its last 12 runs drew" in later["advice"]


def test_nothing_is_known(stage: Stage) -> None:
    found = run("profiles", "--json", "--socket", str(stage.socket)).output
    assert json.loads(found) == {"schema": 1, "profiles": []}
