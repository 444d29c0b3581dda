"""The parts of the demo that judge: they must be able to find fault."""

from dataclasses import replace
from fractions import Fraction

import pytest

from slurm_power.core.envelope import Envelope, parse_comment, resolve
from slurm_power.core.errors import SlurmParseError
from slurm_power.core.policy import BurstRule
from slurm_power.core.topology import Feed, Redundancy, Side, Topology, Zone
from slurm_power.demo import story
from slurm_power.demo.cast import Said
from slurm_power.demo.history import Run, instants, parse_runs
from slurm_power.demo.reckoning import Budget, Draw, Reckoned, budgets, miscounts, passed, reckon
from slurm_power.demo.story import Expect, Submission
from slurm_power.demo.watch import breaches, changes, draws, leaving, unadmitted
from slurm_power.ports import JobRecord, JobState, LicenseRecord

RSS, SUM = BurstRule(), BurstRule(rss=False)
FLOOR = Topology(
    [
        Zone("r1", ("n1", "n2"), 50_000, 2_000, Fraction(0), redundancy=Redundancy.TWO_N, feeds=("a", "b")),
        Zone("r2", ("n3", "n4"), 50_000, 2_000, Fraction(1, 10), redundancy=Redundancy.N, feeds=("a", "b")),
    ],
    [
        Feed("a", 40_000, Side.A, "up"),
        Feed("b", 40_000, Side.B, "up"),
        Feed("up", 60_000),
    ],
)


def draw(nodes: str, est_w: int = 10_000, max_w: int = 13_000, group: str = "g") -> Draw:
    return Draw("1", group, tuple(nodes.split(",")), est_w, max_w)


def job(**fields: object) -> JobRecord:
    given = {"name": "llama", "node_list": "n[1-2]", "state": JobState.RUNNING, **fields}
    return replace(JobRecord(7, JobState.RUNNING, 1001), **given)  # type: ignore[arg-type]


def test_2n_charges_each_side_whole_and_n_half() -> None:
    assert reckon(FLOOR, SUM, [draw("n1")]) == {
        "r1": Reckoned(10_000, 3_000),
        "a": Reckoned(10_000, 3_000),
        "b": Reckoned(10_000, 3_000),
        "up": Reckoned(10_000, 3_000),
    }
    split = reckon(FLOOR, SUM, [draw("n3,n4")])
    assert (split["a"], split["b"], split["up"]) == (
        Reckoned(5_000, 1_500),
        Reckoned(5_000, 1_500),
        Reckoned(10_000, 3_000),
    )


def test_a_job_over_two_zones_is_charged_by_its_nodes() -> None:
    found = reckon(FLOOR, SUM, [draw("n1,n2,n3", 10_000, 10_000)])
    assert (found["r1"].est_w, found["r2"].est_w) == (6_667, 3_334)


def test_bursts_add_up_whole_in_a_group_and_by_squares_between_groups() -> None:
    together = [draw("n1", 0, 3_000, "g"), draw("n2", 0, 3_000, "g")]
    assert reckon(FLOOR, RSS, together)["r1"].burst_w == 6_000
    apart = [draw("n1", 0, 1_000, str(group)) for group in range(9)]
    assert reckon(FLOOR, RSS, apart)["r1"].burst_w == 6_000
    assert reckon(FLOOR, SUM, apart)["r1"].burst_w == 9_000


def test_budgets_take_margin_and_baseline() -> None:
    found = budgets(FLOOR)
    assert found["r2"] == Budget("r2", 50_000, 45_000, 2_000)
    assert found["a"] == Budget("a", 40_000, 40_000, 3_000)
    assert list(found) == ["r1", "r2", "a", "b", "up"]


@pytest.mark.parametrize(
    ("est_w", "burst_w", "fault"),
    [
        (43_000, 5_000, ""),
        (43_001, 0, "r2: committed 45.001kW is more than usable 45kW"),
        (43_000, 5_001, "r2: 45kW and bursts of 5.001kW are more than the limit 50kW"),
    ],
)
def test_a_budget_is_passed_from_the_first_watt_on(est_w: int, burst_w: int, fault: str) -> None:
    assert passed(Budget("r2", 50_000, 45_000, 2_000), Reckoned(est_w, burst_w)) == fault


def test_breaches_are_found_at_feeds_too() -> None:
    reckoned = reckon(FLOOR, SUM, [draw("n1", 38_000, 38_000)])
    assert [fault.partition(":")[0] for fault in breaches(budgets(FLOOR), reckoned)] == ["a", "b"]


@pytest.mark.parametrize(
    ("licence", "faults"),
    [
        (LicenseRecord("pw_r1", 48_000, 10_000), 0),
        (LicenseRecord("pw_r1", 48_000, 9_999), 1),
        (LicenseRecord("pw_r1", 9_000, 10_000), 1),
        (LicenseRecord("pw_r2", 48_000, 0), 0),
        (LicenseRecord("matlab", 5, 5), 0),
    ],
)
def test_slurms_count_has_to_agree_to_the_watt(licence: LicenseRecord, faults: int) -> None:
    assert len(miscounts({"r1": Reckoned(10_000)}, [licence])) == faults


ADMITTED = "power:id=t1,v=admit,tier=gold,zones=r1/2/10000/13000"


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (job(admin_comment=ADMITTED), ""),
        (job(admin_comment=f"others;{ADMITTED}"), ""),
        (job(admin_comment=ADMITTED, node_list="n[2-3]"), "where it was not admitted"),
        (job(admin_comment="power:id=t1,v=admit,zones=r1/1/1/1"), "where it was not admitted"),
        (job(admin_comment="power:id=t1,v=hold,hold=power"), "without having been admitted"),
        (job(admin_comment=""), "without having been admitted"),
        (job(admin_comment="", state=JobState.CONFIGURING), "without having been admitted"),
        (job(admin_comment="", state=JobState.COMPLETING), "without having been admitted"),
        (job(admin_comment="", state=JobState.PENDING, node_list=""), ""),
        (job(admin_comment="", state=JobState.ENDED), ""),
    ],
)
def test_a_job_on_nodes_has_to_be_admitted_there(record: JobRecord, fault: str) -> None:
    found = unadmitted([record], FLOOR, {})
    assert len(found) == bool(fault)
    assert fault in "".join(found)


MARKED = "power:id=t1,v=hold,hold=power"


@pytest.mark.parametrize(
    ("last", "fault"),
    [
        (job(admin_comment=ADMITTED), False),
        (job(admin_comment=ADMITTED, restarts=-1), False),  # it has been requeued by now
        (job(admin_comment=ADMITTED, node_list="n[1-3]"), False),  # it has left one of them already
        (job(admin_comment=ADMITTED, node_list="n[2-3]"), True),
        (job(admin_comment=ADMITTED.replace("t1", "t2")), True),
        (job(admin_comment=MARKED), True),
        (job(admin_comment=MARKED, state=JobState.PENDING, node_list=""), True),
    ],
)
def test_a_victim_is_marked_as_held_a_moment_before_it_leaves_its_nodes(last: JobRecord, fault: bool) -> None:
    marked = job(admin_comment=MARKED, state=JobState.COMPLETING)
    assert bool(unadmitted([marked], FLOOR, leaving([marked], {marked.target: last}, {}))) == fault


def test_what_runs_again_while_it_is_held_is_no_victim() -> None:
    again = job(admin_comment=MARKED, restarts=1)
    assert unadmitted([again], FLOOR, leaving([again], {"7": job(admin_comment=ADMITTED)}, {})) != []


def test_but_no_longer_than_a_moment() -> None:
    marked = job(admin_comment=MARKED)
    known = leaving([marked], {"7": job(admin_comment=ADMITTED)}, {})
    for _ in range(49):
        assert unadmitted([marked], FLOOR, known) == []
        known = leaving([marked], {"7": marked}, known)
    assert unadmitted([marked], FLOOR, known) == []
    assert unadmitted([marked], FLOOR, leaving([marked], {"7": marked}, known)) != []


def test_only_jobs_on_nodes_draw_and_none_that_is_unknown() -> None:
    known = {"llama": Submission("alice", "llama", "", est_w=5, max_w=6)}
    jobs = [job(), job(state=JobState.PENDING, node_list=""), job(state=JobState.ENDED)]
    assert draws(jobs, known) == [Draw("7", "llama", ("n1", "n2"), 5, 6)]
    with pytest.raises(KeyError):
        draws([job(name="stranger")], known)


def test_changes_are_told_once() -> None:
    held = job(state=JobState.PENDING, priority=0)
    free = job(state=JobState.PENDING, priority=9)
    runs, ended = job(), job(state=JobState.ENDED)
    history = [[held], [held], [free], [runs], [runs], [ended], [ended]]
    before: dict[str, JobRecord] = {}
    told = []
    for jobs in history:
        told += [change.what for change in changes(before, jobs)]
        before = {one.target: one for one in jobs}
    assert told == ["released", "starts", "ends"]


LINES = """\
1|llama|COMPLETED|100|130|n[1-2]
3_1|eval|COMPLETED|100|110|n3
3_2|eval|COMPLETED|110|120|n3
4|gone|CANCELLED by 0|None|120|None assigned
"""


def test_accounting_is_read_as_runs() -> None:
    runs = parse_runs(LINES)
    assert runs is not None
    assert runs[0] == Run("1", "llama", 100, 130, ("n1", "n2"))
    assert [run.job for run in runs] == ["1", "3_1", "3_2"]


@pytest.mark.parametrize(
    "line", ["5|late|RUNNING|100|Unknown|n4\n", "5|late|PENDING|Unknown|Unknown|None assigned\n"]
)
def test_accounting_that_lacks_an_end_is_not_believed_yet(line: str) -> None:
    assert parse_runs(LINES + line) is None


def test_what_is_no_accounting_is_an_error() -> None:
    with pytest.raises(SlurmParseError):
        parse_runs("sacct: error: no\n")


def test_the_history_is_replayed_at_every_start_and_ends_come_first() -> None:
    known = {name: Submission("alice", name, "", est_w=1, max_w=1) for name in ("llama", "eval")}
    together = list(instants(parse_runs(LINES) or [], known))
    assert [[one.job for one in at] for at in together] == [["1", "3_1"], ["1", "3_2"]]


@pytest.mark.parametrize(
    ("status", "text", "verdict"),
    [
        (0, "sbatch: slurm_power: admitted to rack01 with 5kW\nSubmitted batch job 12\n", Expect.ADMIT),
        (0, "Submitted batch job 12\n", Expect.ADMIT),
        (0, "sbatch: slurm_power: held: zone rack01 is short\nSubmitted batch job 12\n", Expect.HOLD),
        (1, "sbatch: error: slurm_power: rejected: est: …\nsbatch: error: …\n", Expect.REJECT),
        (1, "sbatch: slurm_power: admitted to rack01\nsbatch: error: Invalid qos\n", Expect.SLURM_REFUSES),
    ],
)
def test_verdicts_are_read_from_what_sbatch_says(status: int, text: str, verdict: Expect) -> None:
    said = Said(status, text)
    assert said.verdict is verdict
    assert said.job == ("" if status else "12")


@pytest.mark.parametrize(
    "submission", [one for one in story.ALL if one.expect is not Expect.REJECT and one.est_w], ids=lambda one: one.name
)
def test_the_demo_counts_a_job_as_it_was_submitted(submission: Submission) -> None:
    given = dict(option.removeprefix("-").partition("=")[::2] for option in submission.options)
    nodes = next((int(name[1:]) for name in given if name[:1] == "N"), 1)
    gpus = nodes * int(given.get("-gpus-per-node", given.get("-gpus", "0")))
    envelope = parse_comment(submission.comment, 0) or Envelope()
    resolved = resolve(envelope, nodes, gpus, 1_300, 700 * gpus or None)
    assert (submission.est_w, submission.max_w) == (resolved.est_w, resolved.max_w)


def test_names_in_the_story_tell_jobs_apart() -> None:
    names = [submission.name for submission in story.ALL]
    assert len(set(names)) == len(names)


def test_a_command_is_shown_as_one_would_type_it() -> None:
    shown = Submission("bob", "a", "power:est=5kW,zones=rack[01-02]", ("-N1",), "sleep 5").text
    assert shown == "sbatch -J a -N1 --comment='power:est=5kW,zones=rack[01-02]' --wrap='sleep 5'"
    srun = Submission("bob", "a", "power:est=5kW", command="sh -c 'hostname; sleep 2'", interactive=True)
    assert srun.argv[-3:] == ("sh", "-c", "hostname; sleep 2")
