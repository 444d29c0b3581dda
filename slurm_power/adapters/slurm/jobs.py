"""Reading jobs from squeue: fast, complete, and so that no user can forge a record or a field.

Names and comments are the users' text, printed raw, with newlines if they like. So every field is followed by a
delimiter that is drawn anew for each call and reaches squeue by its environment, which other users cannot read.
`-r` keeps squeue from merging records of one array that differ, at the price of a line for each pending task;
those are folded again here. It also hides an array's throttle, which is therefore asked for apart.
"""

import codecs
import json
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from sys import intern

from slurm_power.adapters.slurm.dialect import Dialect
from slurm_power.adapters.slurm.runner import Commands
from slurm_power.adapters.slurm.text import Numbers, Words, fold_tasks, instant, job_gpus, limit_s, number, plain
from slurm_power.core.errors import SlurmError, SlurmParseError
from slurm_power.ports import JobRecord, JobState

_log = logging.getLogger("slurm_power.slurm")

Row = list[str]

_FIELDS = (
    *("JobId", "ArrayJobId", "ArrayTaskId", "State", "UserId", "UserName", "Account", "QOS", "Partition"),
    *("PriorityLong", "Reason", "HetJobId", "HetJobOffset", "NodeList", "NumNodes", "NumCPUs", "TimeLimit"),
    *("SubmitTime", "EligibleTime", "StartTime", "EndTime", "RestartCnt", "BatchFlag", "Requeue", "Licenses"),
    *("Feature", "ReqNodes", "Reservation", "Dependency", "NumTasks", "tres-alloc", "tres-per-job"),
    *("tres-per-node", "tres-per-task", "tres-per-socket", "Name", "admin_comment", "Comment"),
)
_JOB, _ARRAY, _TASK, _STATE = range(4)

_STATES = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.CONFIGURING,
    "RUNNING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SUSPENDED": JobState.SUSPENDED,
    "STOPPED": JobState.SUSPENDED,
    "COMPLETING": JobState.COMPLETING,
    "STAGE_OUT": JobState.COMPLETING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "EXPEDITING": JobState.PENDING,
    "REVOKED": JobState.ENDED,
    "COMPLETED": JobState.ENDED,
    "CANCELLED": JobState.ENDED,
    "FAILED": JobState.ENDED,
    "TIMEOUT": JobState.ENDED,
    "NODE_FAIL": JobState.ENDED,
    "PREEMPTED": JobState.ENDED,
    "BOOT_FAIL": JobState.ENDED,
    "DEADLINE": JobState.ENDED,
    "OUT_OF_MEMORY": JobState.ENDED,
}

_THROTTLE = re.compile(r"%(\d+)$")
_UNKNOWN_JOB = "Invalid job id"
_ASKED_AT_ONCE = 2_000
"""Job ids in one argument; the kernel takes 128 KiB."""


def draw_nonce() -> str:
    """A delimiter that nobody can guess. It must not begin with a digit, nor hold a comma or a percent sign."""
    return f"\x1f{secrets.token_hex(12)}\x1f"


def job_state(word: str, has_nodes: bool) -> JobState:
    """Our state for squeue's word. A word of a later Slurm counts as running while the job has nodes."""
    known = _STATES.get(word)
    if known is not None:
        return known
    _log.warning("job state %r is not known here", word)
    return JobState.RUNNING if has_nodes else JobState.PENDING


class _Maker:
    """Makes records of rows. Words and small numbers that many jobs share are looked up, not read again."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._words = Words()
        self._numbers = Numbers()

    def record(self, row: Row, tasks: Sequence[int]) -> JobRecord:
        """The record that a row shows, or the first of the rows of these tasks of one array."""
        word_of, number_of = self._words, self._numbers
        (job_id, array, task, word, uid, user, account, qos, partition, priority, reason, het, offset, nodes) = row[:14]
        (node_count, cpus, limit, submit, eligible, start, end, restarts, batch, requeue, licenses) = row[14:25]
        (features, wanted, reservation, dependency, ntasks, tres, per_job, per_node, per_task, per_socket) = row[25:35]
        name, admin_comment, comment, exclusive = row[35:39]
        width = int(node_count)
        state = _STATES.get(word) or job_state(word, bool(nodes))
        started = state is not JobState.PENDING
        in_array = number_of[task] is not None
        # The record of an array's pending tasks bears the array's own id; so does its last task once it has started.
        pending_part = in_array and not started and (job_id == array or len(tasks) > 1)
        task_count = number_of[ntasks] or 1
        # Given by place, which takes a sixth of the time of by name: a fifth of a reading.
        return JobRecord(
            int(job_id),
            state,
            int(uid),
            word_of[user],
            word_of[account],
            word_of[qos],
            word_of[partition],
            plain(name),
            int(priority),
            "" if reason == "None" else intern(reason),
            int(array) if in_array else None,
            int(task) if in_array and not pending_part else None,
            fold_tasks(tasks) if pending_part else "",
            None,  # an array's throttle: read apart
            number_of[het],
            number_of[offset],
            plain(nodes),
            width,
            int(cpus),
            job_gpus(tres, (per_job, per_node, per_task, per_socket), width, task_count),
            exclusive == self._dialect.exclusive_word,
            limit_s(limit),
            instant(submit) or 0,
            instant(eligible),
            instant(start) if started else None,  # before that it is squeue's guess
            instant(end) if started else None,
            int(restarts),
            batch == "1",
            requeue == "1",
            word_of[licenses],
            word_of[features],
            word_of[wanted],
            word_of[row[39]] if self._dialect.excluded else "",
            word_of[reservation],
            plain(dependency),
            plain(admin_comment),
            plain(comment),
            word if state is JobState.ENDED else "",
        )


@dataclass(slots=True)
class _Memory:
    """The records of the last whole reading by job id, with hashes of their rows: no record is made again of the same.

    With 100,000 jobs that saves most of a reading, and the memory of a second copy. A hash is of 64 bits under a key
    that Python draws for each process, and is compared with the one of the same job alone: no user can aim at it.
    """

    records: dict[str, tuple[int, JobRecord]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobReader:
    """Reads all jobs with squeue."""

    commands: Commands
    dialect: Dialect
    nonce: Callable[[], str] = draw_nonce
    name: str = "squeue"
    _memory: _Memory = field(default_factory=_Memory)

    def read(self, ids: Sequence[int] | None = None) -> list[JobRecord]:
        """All jobs that slurmctld knows, or of these ids those that it knows, in squeue's order.

        Raises SlurmError, SlurmTimeout, SlurmParseError.
        """
        if ids is None:
            return self._read(())
        wanted = sorted(frozenset(ids))
        parts = (wanted[first : first + _ASKED_AT_ONCE] for first in range(0, len(wanted), _ASKED_AT_ONCE))
        return [job for part in parts for job in self._read_some(part)]

    def _read_some(self, ids: Sequence[int]) -> list[JobRecord]:
        try:
            found = self._read(("-j", ",".join(map(str, ids))))
        except SlurmError as error:
            if len(ids) == 1 and _UNKNOWN_JOB in error.output:  # said for a single id alone
                return []
            raise
        # squeue gives all records of an array or het job for the id of its first
        return [job for job in found if job.job_id in frozenset(ids)]

    def _read(self, which: tuple[str, ...]) -> list[JobRecord]:
        extra = [self.dialect.exclusive, *(["ExcNodes"] if self.dialect.excluded else [])]
        rows = self._rows((*_FIELDS, *extra), "-h", "-r", "-a", "-t", "all", *which)
        jobs = self._records(rows, whole=not which)
        throttles = self._throttles(jobs, which)
        excluded = {} if self.dialect.excluded else self._excluded(jobs, which)
        return [_enrich(job, throttles, excluded) for job in jobs] if throttles or excluded else jobs

    def _rows(self, fields: Sequence[str], *options: str) -> Iterator[Row]:
        end = self.nonce()
        form = ",".join(f"{name}:0{end}" for name in fields)
        pieces = self.commands.stream("squeue", *options, env={"SQUEUE_FORMAT2": form})
        return split_rows(pieces, end, len(fields))

    def _records(self, rows: Iterable[Row], *, whole: bool) -> list[JobRecord]:
        known = self._memory.records
        make = _Maker(self.dialect).record
        fresh: dict[str, tuple[int, JobRecord]] = {}
        jobs = []
        for row, tasks in _fold(rows):
            if len(tasks) > 1:  # made of several rows
                jobs.append(make(row, tasks))
                continue
            mark = hash(tuple(row))
            kept = known.get(row[_JOB])
            if kept is None or kept[0] != mark:
                kept = mark, make(row, tasks)
            fresh[row[_JOB]] = kept
            jobs.append(kept[1])
        if whole:
            self._memory.records = fresh
        return jobs

    def _throttles(self, jobs: Sequence[JobRecord], which: tuple[str, ...]) -> dict[int, int]:
        """How many tasks of an array may run at once, by array; only arrays with pending tasks and a throttle."""
        arrays = {job.array_job_id for job in jobs if job.array_tasks}
        if not arrays:
            return {}
        unmerged = ["--array-unique"] if self.dialect.array_unique else []
        rows = self._rows(("ArrayJobId", "ArrayTaskId"), "-h", "-a", "-t", "PENDING", *unmerged, *which)
        found = {int(array): int(match[1]) for array, tasks in rows if (match := _THROTTLE.search(tasks))}
        if self.dialect.array_unique:
            return found
        # Where squeue merges what is split off an array into its record, it leaves the throttle out.
        split = {j.array_job_id for j in jobs if j.array_task_id is not None and j.state is JobState.PENDING}
        merged = sorted(array for array in split & arrays if array is not None and array not in found)
        for first in range(0, len(merged), _ASKED_AT_ONCE):
            found.update(self._throttles_of(merged[first : first + _ASKED_AT_ONCE]))
        return found

    def _throttles_of(self, arrays: Sequence[int]) -> Iterator[tuple[int, int]]:
        asked = ",".join(map(str, arrays))
        text = self.commands.run("squeue", "--json", "-a", "-t", "PENDING", "-j", asked).out
        try:
            for job in json.loads(text)["jobs"]:
                match = _THROTTLE.search(job["array_task_string"])
                if match is not None:
                    yield int(job["array_job_id"]["number"]), int(match[1])
        except (ValueError, KeyError, TypeError) as error:
            raise SlurmParseError("not the JSON of a squeue that we know", ("squeue", "--json"), 0, text) from error

    def _excluded(self, jobs: Sequence[JobRecord], which: tuple[str, ...]) -> dict[int, str]:
        """The nodes that pending jobs exclude, by job id, from a squeue that tells it in its short format alone."""
        if all(job.state is not JobState.PENDING for job in jobs):
            return {}
        end = self.nonce()
        form = f"%A{end}%x{end}"
        pieces = self.commands.stream("squeue", "-h", "-r", "-a", "-t", "PENDING", *which, env={"SQUEUE_FORMAT": form})
        return {int(job_id): text for job_id, raw in split_rows(pieces, end, 2) if (text := plain(raw))}


def split_rows(pieces: Iterable[bytes], end: str, width: int) -> Iterator[Row]:
    """Rows of so many fields, each field closed by `end`, each row by a newline. Raises SlurmParseError."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for piece in pieces:
        fields = (rest + decoder.decode(piece)).split(end)
        whole = (len(fields) - 1) // width * width
        for first in range(0, whole, width):
            row = fields[first : first + width]
            row[0] = row[0].lstrip("\n")
            yield row
        rest = end.join(fields[whole:])
    if rest.strip("\n"):
        raise SlurmParseError("squeue stopped in the middle of a record", ("squeue",), 0, rest)


def _fold(rows: Iterable[Row]) -> Iterator[tuple[Row, list[int]]]:
    """Rows with the task ids of all rows that show the same record, which squeue prints in succession."""
    held: Row | None = None
    tasks: list[int] = []
    for row in rows:
        if held is not None and row[_JOB] == held[_JOB]:
            tasks.append(int(row[_TASK]))
            continue
        if held is not None:
            yield held, tasks
        held, task = row, number(row[_TASK])
        tasks = [] if task is None else [task]
    if held is not None:
        yield held, tasks


def _enrich(job: JobRecord, throttles: dict[int, int], excluded: dict[int, str]) -> JobRecord:
    throttle = throttles.get(job.array_job_id) if job.array_job_id is not None else None
    nodes = excluded.get(job.job_id, job.excluded_nodes)
    if throttle is None and nodes == job.excluded_nodes:
        return job
    return replace(job, array_throttle=throttle, excluded_nodes=nodes)
