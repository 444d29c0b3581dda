"""After a start of the daemon: what runs is counted by its admission records, all at once.

Only what is plain is taken here: a job on just the nodes that it was admitted for. All else goes the usual way.
"""

from collections.abc import Iterator, Sequence

from slurm_power.core.claim import RESERVATION, WHOLE_NODE, Charge, Claim
from slurm_power.core.lifecycle import State
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.record import AdmissionRecord, Standing, find_record
from slurm_power.core.window import FOREVER, Window
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.world import nodes_of

_STARTED = frozenset({JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING})
_AT_ONCE = 1_000


def restore(desk: Desk, records: Sequence[JobRecord]) -> Iterator[None]:
    """Enter the running jobs of a first snapshot into an empty book, yielding now and then."""
    lot: list[tuple[Entry, Claim]] = []
    plain = _Plain(desk)
    for record in records:
        if record.state not in _STARTED:
            continue
        try:
            pair = plain.read(record)
        except Exception:  # any, as in Faults.apart, which is too slow around each of 100,000 and tells of it here
            with desk.faults.apart(str(record.job_id)):
                plain.read(record)
            continue
        if pair is not None:
            lot.append(pair)
        if len(lot) >= _AT_ONCE:
            desk.book.restore(lot)
            lot = []
            yield
    desk.book.restore(lot)


class _Plain:
    """Makes entries and claims of records of running jobs; what many jobs share is worked out once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._now = desk.ledger.now
        self._shares: dict[tuple[str, int, int, int], int] = {}
        """(zone, nodes, CPUs, GPUs) of a job → the part of a node that each of its nodes takes."""

    def read(self, record: JobRecord) -> tuple[Entry, Claim] | None:
        """The entry of a job and its claim; None where the job is not plain."""
        found = find_record(record.admin_comment)
        if found is None or found.standing is not Standing.ADMIT or found.restarts != record.restarts:
            return None
        counts = self._desk.world.zones_of(nodes_of(record.node_list))
        if not counts or {charge.zone: charge.nodes for charge in found.charges} != counts:
            return None
        key, task = found.token, None
        if record.array_task_id is not None:
            key = f"{found.token}.{record.array_task_id}"
            task = (record.array_job_id, record.array_task_id) if record.array_job_id is not None else None
        entry = Entry(
            key,
            found.token,
            State.RUNNING,
            self._now,
            0.0,
            record.uid,
            job_id=record.job_id,
            record=record,
            task=task,
            charges=found.charges,
            gate=(record.job_id, record.restarts),
        )
        claim = self._claim(key, record, found)
        within = found.reservation
        return entry, self._desk.ledger.drawing(claim, RESERVATION + within) if within else claim

    def _claim(self, key: str, record: JobRecord, found: AdmissionRecord) -> Claim:
        start = self._now if record.start_time is None or record.start_time > self._now else record.start_time
        end = FOREVER if record.end_time is None else record.end_time
        return Claim(
            id=key,
            charges=found.charges,
            window=Window(start, end if end > start else start + 1),
            group=f"{record.uid}/{record.name}",
            tier=found.tier,
            uid=record.uid,
            account=record.account,
            share_milli=WHOLE_NODE if record.exclusive else self._share_milli(record, found.charges),
            placed=True,
            through_cuts_s=self._desk.world.runs_through_s(record, found.tier, found.reservation),
        )

    def _share_milli(self, record: JobRecord, charges: tuple[Charge, ...]) -> int:
        """The thousandths of a node that each of its nodes takes, at most, of a job that shares its nodes."""
        most = 0
        for charge in charges:
            shape = (charge.zone, record.node_count, record.cpus, record.gpus)
            share = self._shares.get(shape)
            if share is None:
                nodes = max(record.node_count, 1)
                ask = NodeAsk(nodes, 1, max(-(-record.cpus // nodes), 1), -(-record.gpus // nodes))
                share = self._shares[shape] = self._desk.ledger.nodes[charge.zone].share_milli(ask)
            most = max(most, share)
        return most
