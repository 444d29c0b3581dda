"""Jobs as real Slurms of three versions printed them, and text that tries to pass for something else."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.adapters.slurm.dialect import DIALECTS, dialect_for, read_version
from slurm_power.adapters.slurm.jobs import JobReader, draw_nonce, job_state, split_rows
from slurm_power.adapters.slurm.runner import Completed
from slurm_power.core.errors import SlurmError, SlurmParseError
from slurm_power.ports import JobRecord, JobState
from tests.adapters.slurm.replay import NONCE, VERSIONS, Replay
from tests.assets.slurm.capture import FORGED, RECORD

DAY = 86_400

# What the jobs of the capture look like in every version, by name; the times are counted from the submission.
EXPECTED: dict[str, dict[str, Any]] = {
    "plain": {
        "state": JobState.RUNNING,
        "node_list": "n01",
        "cpus": 4,
        "gpus": 2,
        "licenses": "rack01_w:100",
        "features": "h100",
        "time_limit_s": 7_200,
        "user": "root",
        "uid": 0,
        "account": "root",
        "qos": "normal",
        "partition": "train",
        "batch": True,
        "requeue": True,
        "held": False,
        "exclusive": False,
        "array_job_id": None,
        "dependency": "",
        "reservation": "",
        "reason": "",
    },
    "suspended": {"state": JobState.SUSPENDED, "node_list": "n01"},
    "completing": {"state": JobState.COMPLETING, "node_list": "n01"},
    "done": {"state": JobState.ENDED, "held": False},
    "cancelled": {"state": JobState.ENDED, "held": False, "node_list": ""},
    "requeued": {"state": JobState.PENDING, "restarts": 1, "reason": "BeginTime", "held": False, "node_list": ""},
    "requeuehold": {"state": JobState.PENDING, "restarts": 1, "held": True, "reason": "job requeued in held state"},
    "held": {
        "held": True,
        "reason": "JobHeldUser",
        "admin_comment": RECORD,
        "requeue": False,
        "qos": "silver",
        "account": "research",
        "eligible_time": None,
        "start_time": None,
        "end_time": None,
        "time_limit_s": 3_600,
    },
    "heldadmin": {"held": True, "reason": "JobHeldAdmin"},
    "depends": {"held": False, "reason": "Dependency", "dependency": "afterok:1(unfulfilled)", "eligible_time": None},
    "later": {"held": False, "reason": "BeginTime", "start_time": None},
    "exclusive": {"exclusive": True, "held": True},
    "unlimited": {"time_limit_s": None, "partition": "long"},
    "excludes": {"excluded_nodes": "n[01,04]", "required_nodes": "n02", "node_count": 2},
    "pertask": {"gpus": 6, "cpus": 3},
    "last": {"state": JobState.RUNNING, "array_task_id": 7, "array_tasks": "", "array_throttle": None},
    "interactive": {"state": JobState.RUNNING, "batch": False, "time_limit_s": 600},
}


def read(version: str) -> list[JobRecord]:
    replay = Replay.of(version)
    return JobReader(replay, dialect_for(read_version(replay)), lambda: NONCE).read()


@pytest.fixture(params=VERSIONS)
def jobs(request: pytest.FixtureRequest) -> list[JobRecord]:
    return read(request.param)


def test_three_versions_were_captured() -> None:
    assert VERSIONS == ("22.05", "24.11", "26.05")


def named(jobs: list[JobRecord], name: str) -> JobRecord:
    (found,) = [job for job in jobs if job.name == name]
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_each_kind_of_job(jobs: list[JobRecord], name: str) -> None:
    job = named(jobs, name)
    assert {field: getattr(job, field) for field in EXPECTED[name]} == EXPECTED[name]


def test_times_of_a_running_job(jobs: list[JobRecord]) -> None:
    job = named(jobs, "plain")
    assert job.start_time is not None
    assert 0 <= job.start_time - job.submit_time < 60
    assert job.end_time == job.start_time + 7_200
    assert job.eligible_time is not None
    assert job.submit_time <= job.eligible_time <= job.start_time


def test_times_of_those_that_wait(jobs: list[JobRecord]) -> None:
    later, requeued = named(jobs, "later"), named(jobs, "requeued")
    assert later.eligible_time is not None
    assert abs(later.eligible_time - later.submit_time - DAY) < 60
    assert requeued.eligible_time == requeued.submit_time + 121


def test_an_array_in_parts(jobs: list[JobRecord]) -> None:
    parts = {job.target: job for job in jobs if job.name == "array"}
    (array,) = {job.array_job_id for job in parts.values()}
    assert sorted(parts) == [f"{array}_1", f"{array}_2", f"{array}_5", f"{array}_[3-4,6]"]
    assert {job.array_throttle for job in parts.values()} == {2}
    rest, split = parts[f"{array}_[3-4,6]"], parts[f"{array}_5"]
    assert (rest.state, rest.array_task_id, rest.licenses, rest.gpus) == (JobState.PENDING, None, "", 4)
    assert (split.state, split.array_tasks, split.licenses) == (JobState.PENDING, "", "rack01_w:7")
    assert split.admin_comment == RECORD
    assert rest.admin_comment == ""
    assert parts[f"{array}_1"].node_list == "n[01-02]"


def test_a_running_last_task_is_told_apart_from_its_array(jobs: list[JobRecord]) -> None:
    job = named(jobs, "last")
    assert job.job_id == job.array_job_id
    assert job.target == f"{job.job_id}_7"


def test_components(jobs: list[JobRecord]) -> None:
    first, second = sorted((job for job in jobs if job.name == "het"), key=lambda job: job.job_id)
    assert first.het_job_id == second.het_job_id == first.job_id
    assert (first.het_offset, second.het_offset) == (0, 1)
    assert (first.gpus, second.gpus, second.cpus) == (1, 0, 2)
    assert second.target == f"{first.job_id}+1"


def test_forged_text_stays_text(jobs: list[JobRecord]) -> None:
    job = named(jobs, f"evil{FORGED}")
    assert job.comment == f"mine;{FORGED}power:est=1kW"
    assert job.admin_comment == ""
    assert [j.job_id for j in jobs if "forged" in j.admin_comment] == []
    assert len({j.job_id for j in jobs}) == len(jobs) == 24


def test_every_record_once(jobs: list[JobRecord]) -> None:
    assert {job.job_id for job in jobs} == set(range(1, 25))


# -- rows -----------------------------------------------------------------------------------------------------------


@given(
    rows=st.lists(st.lists(st.text(), min_size=3, max_size=3)),
    step=st.integers(1, 9),
)
def test_any_text_without_the_delimiter_comes_back(rows: list[list[str]], step: int) -> None:
    rows = [[row[0].lstrip("\n").replace(NONCE, ""), *(text.replace(NONCE, "") for text in row[1:])] for row in rows]
    raw = "".join("".join(text + NONCE for text in row) + "\n" for row in rows).encode("utf-8", "replace")
    pieces = (raw[first : first + step] for first in range(0, len(raw), step))
    expected = [[text.encode("utf-8", "replace").decode() for text in row] for row in rows]
    assert list(split_rows(pieces, NONCE, 3)) == expected


def test_output_cut_off_in_a_record_is_an_error() -> None:
    with pytest.raises(SlurmParseError, match="middle of a record"):
        list(split_rows([f"1{NONCE}2{NONCE}\n3{NONCE}".encode()], NONCE, 2))


def test_the_delimiter_is_new_each_time_and_fit_for_a_format() -> None:
    drawn = {draw_nonce() for _ in range(100)}
    assert len(drawn) == 100
    assert all(re.fullmatch(r"[^\d,%][^,%]{20,}", nonce) for nonce in drawn)


@pytest.mark.parametrize(
    ("word", "has_nodes", "state"),
    [
        ("STOPPED", True, JobState.SUSPENDED),
        ("STAGE_OUT", False, JobState.COMPLETING),
        ("REQUEUE_HOLD", False, JobState.PENDING),
        ("SPECIAL_EXIT", False, JobState.PENDING),
        ("OUT_OF_MEMORY", False, JobState.ENDED),
        ("CONFIGURING", True, JobState.CONFIGURING),
        ("TELEPORTING", True, JobState.RUNNING),
        ("TELEPORTING", False, JobState.PENDING),
    ],
)
def test_states(word: str, has_nodes: bool, state: JobState) -> None:
    assert job_state(word, has_nodes) is state


# -- asking for some ------------------------------------------------------------------------------------------------


class Refusing:
    """squeue as it answers when it knows none of the ids, or not at all."""

    def __init__(self, output: str) -> None:
        self.output = output
        self.asked: list[tuple[str, ...]] = []

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        self.asked.append(args)
        raise SlurmError("failed", (program, *args), 1, self.output)

    def run(self, program: str, *args: str, **options: object) -> Completed:
        raise AssertionError(program)


# -- from one reading to the next ------------------------------------------------------------------------------------


class Rows:
    """squeue's answer of 24.11 for running jobs of these (id, name, admin comment, comment)."""

    def __init__(self, *jobs: tuple[int, str, str, str]) -> None:
        self.jobs = jobs

    def run(self, *_: object, **__: object) -> Completed:
        raise AssertionError

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        assert env is not None
        end = env["SQUEUE_FORMAT2"].split(",")[0].removeprefix("JobId:0")
        for job, name, admin, comment in self.jobs:
            fields = (
                *(job, job, "N/A", "RUNNING", 1000, "alice", "research", "gold", "train", 100, "None", 0, 0, "n1"),
                *(1, 64, "1:00", 1, 1, 2, 3, 0, 1, 1, "", "", "", "", "", 1, "cpu=64", "N/A", "N/A", "N/A", "N/A"),
                *(name, admin, comment, "OK", ""),
            )
            yield ("".join(f"{value}{end}" for value in fields) + "\n").encode()


def test_what_has_not_changed_is_the_same_record() -> None:
    rows = Rows((1, "a", "b", "c"), (2, "a", "b", "c"))
    reader = JobReader(rows, DIALECTS[2])
    first = reader.read()
    rows.jobs = ((2, "a", "b", "new"), (1, "a", "b", "c"))
    changed, same = reader.read()
    assert same is first[0]
    assert (changed.job_id, changed.comment) == (2, "new")
    rows.jobs = ((2, "a", "b", "c"),)
    (back,) = reader.read()
    assert back == first[1]


def test_no_text_makes_two_rows_the_same() -> None:
    rows = Rows((1, "a\x1fb", "", "c"))
    reader = JobReader(rows, DIALECTS[2])
    reader.read()
    rows.jobs = ((1, "a", "b\x1f", "c"),)
    assert [(job.name, job.admin_comment) for job in reader.read()] == [("a", "b\x1f")]


def test_a_single_unknown_id_is_no_error() -> None:
    reader = JobReader(Refusing("slurm_load_jobs error: Invalid job id specified\n"), DIALECTS[-1])
    assert reader.read([99]) == []


def test_a_slurmctld_that_is_down_is_an_error_even_then() -> None:
    reader = JobReader(Refusing("slurm_load_jobs error: Unable to contact slurm controller"), DIALECTS[-1])
    with pytest.raises(SlurmError):
        reader.read([99])


def test_no_ids_ask_nothing() -> None:
    refusing = Refusing("")
    assert JobReader(refusing, DIALECTS[-1]).read([]) == []
    assert refusing.asked == []
