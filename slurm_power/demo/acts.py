"""The acts of the demo, one after another. What is not as told becomes a fault, and the demo fails at its end."""

import shlex
import time
from collections.abc import Callable, Iterable

from slurm_power.core.binding import PREFIX
from slurm_power.demo import story
from slurm_power.demo.cast import Cast, Said
from slurm_power.demo.stage import Stage
from slurm_power.demo.story import Expect, Submission
from slurm_power.demo.watch import Watch
from slurm_power.ports import JobState

_PACE_S = 0.7
_SOON_S = 20.0
_SEEN_S = 1.5
"""After which the daemon has surely read of a new job."""
_END_S = 90.0
_GPUS = 8
_BACK_S = 180.0
"""Until a job that gave way has come back and ended."""
_STEPS = "preempting,preempt,preempted,release,launch"


class Acts:
    """Plays the story on a sandbox that stands."""

    def __init__(self, stage: Stage, cast: Cast, watch: Watch) -> None:
        self._stage = stage
        self._cast = cast
        self._watch = watch
        self._verdicts = dict.fromkeys(Expect, 0)

    @property
    def verdicts(self) -> dict[Expect, int]:
        """How often each verdict fell."""
        return {verdict: count for verdict, count in self._verdicts.items() if count}

    def play(self) -> None:
        """All acts. Raises PowerError where going on makes no sense."""
        self._stage.chapter("Gold, bronze and an array, as sbatch shows them")
        for submission in story.OPENING:
            self._submit(submission)
        started = self._wait(lambda: all(self._running(one) for one in story.OPENING), _SOON_S)
        self._require(started, "the first jobs have not started")
        self._hold()
        self._stage.chapter("Refused, with the reason and the correct form")
        for submission in story.REFUSED:
            if not (submission.several_users and self._cast.alone):
                self._submit(submission)
        self._stage.chapter("Interactive work")
        self._submit(story.NOTEBOOK)
        self._stage.chapter("A mixed stream behind it")
        for submission in story.STREAM:
            self._submit(submission)
            self._pass_time(_PACE_S)
        self._show("spower", "jobs")
        self._stage.chapter("Watts come free, and held jobs start by themselves")
        self._require(self._wait(self._all_ended, _END_S), "some jobs have not ended")
        if self._cast.alone:
            self._stage.tell("What a reservation keeps from others is not shown: all users are one here.")
        else:
            self._reserve()
        self._preempt()

    def _reserve(self) -> None:
        """Watts that an account can count on."""
        self._stage.chapter("Reserved: watts that an account can count on")
        self._show(*shlex.split(story.RESERVE))
        held = self._wait(lambda: self._reserved("rack03") > 0, _SOON_S)
        self._require(held, "Slurm does not hold the reservation")
        self._show("scontrol", "-o", "show", "reservation")
        self._submit(story.OUTSIDER)
        self._submit(story.INSIDER)
        self._require(self._wait(lambda: self._running(story.INSIDER), _SOON_S), "the insider has not started")
        self._submit(story.THE_REST)
        self._require(self._wait(lambda: self._running(story.THE_REST), _SOON_S), "the rest is not everybody's")
        self._show("sreservation", "show", "spring", "-o", "name,state,granted,used,left,jobs,slurm")
        self._show("spower", "zones", "rack03")
        self._stage.tell("Given up, its watts are everybody's again, and what waited for them starts.")
        self._show("sreservation", "cancel", "spring")
        self._require(self._wait(self._all_ended, _END_S), "some jobs have not ended")

    def _preempt(self) -> None:
        """Bronze gives way to gold, and comes back by itself."""
        self._stage.chapter("Bronze gives way to gold")
        self._submit(story.FILLER)
        self._require(self._wait(lambda: self._running(story.FILLER), _SOON_S), "the filler has not started")
        said = self._submit(story.PRECIOUS)
        started = self._wait(lambda: self._running(story.PRECIOUS), _SOON_S)
        self._require(started, "gold has not started")
        self._show("spower", "audit", "-S", "now-1minute", "-a", _STEPS, "-o", "at,job,user,action,zones,numbers")
        self._show("spower", "explain", said.job)
        self._stage.tell("Slurm starts a requeued job two minutes later at the earliest; until then it waits.")
        self._require(self._wait(self._all_ended, _BACK_S), "the job that gave way has not come back")

    def _reserved(self, zone: str) -> int:
        """What reservations keep in a zone and Slurm holds, in W."""
        return self._watch.reserved.get(PREFIX + zone, 0)

    def _hold(self) -> None:
        """A job that waits for watts beside idle GPUs."""
        self._stage.chapter("Held, though GPUs are free")
        said = self._submit(story.RETRAIN)
        self._show("sinfo", "--noheader", "--partition=train", "--states=idle", "--format=%n idle, %f, %G")
        idle = sum(row["nodes_idle"] for row in self._watch.zones.get("zones", ()))
        self._require(idle >= 2, "there are no idle nodes beside the held job")
        self._stage.tell(f"{idle} nodes with {idle * _GPUS} GPUs are idle; watts are lacking. Asked why, spower says:")
        self._pass_time(_SEEN_S)
        self._show("spower", "explain", said.job)
        self._show("spower", "zones", "rack[01-02]")

    def _submit(self, submission: Submission) -> Said:
        if submission.say:
            self._stage.tell(submission.say)
        self._stage.command(self._cast.name(submission.user), submission.text)
        said = self._cast.submit(submission, self._look)
        self._stage.output(said.text)
        self._verdicts[said.verdict] += 1
        wanted = (Expect.ADMIT, Expect.HOLD) if submission.expect is Expect.ANY else (submission.expect,)
        self._require(said.verdict in wanted, f"{submission.name} was {said.verdict}, not {submission.expect}")
        self._look()
        return said

    def _show(self, *argv: str) -> None:
        """A command whose output belongs to the story."""
        self._stage.command("root" if not self._cast.alone else self._cast.name(""), " ".join(argv))
        said = self._cast.run("root", argv, self._look)
        self._stage.output(said.text)
        self._require(said.status == 0, f"{argv[0]} ended with {said.status}")

    def _require(self, true: bool, fault: str) -> None:
        if not true:
            self._stage.tell(f"Not as told: {fault}", "bold red")
            self._watch.findings.blame([f"not as told: {fault}"])

    # -- time passes --------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Tell what has happened, and draw the racks."""
        for change in self._watch.take_changes():
            job = change.job
            where = f" on {job.node_list}" if change.what == "starts" else ""
            self._stage.tell(f"    job {job.target} ({job.user}, {job.name}) {change.what}{where}", "dim")
        self._stage.picture(self._watch.zones)

    def _pass_time(self, seconds: float) -> None:
        self._wait(lambda: False, seconds)

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Look on until something is so, for so long at most; whether it came true."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
            self._look()
        return True

    def _running(self, submission: Submission) -> bool:
        """Whether all its tasks run."""
        states = [job.state for job in self._watch.jobs.values() if job.name == submission.name]
        return states.count(JobState.RUNNING) == submission.tasks

    def _all_ended(self) -> bool:
        return _ended(job.state for job in self._watch.jobs.values())


def _ended(states: Iterable[JobState]) -> bool:
    found = list(states)
    return bool(found) and all(state is JobState.ENDED for state in found)
