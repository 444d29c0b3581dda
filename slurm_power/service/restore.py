"""After a start of the daemon: what runs is counted by its admission records, all at once.

Only what is plain is taken here: a job on just the nodes that it was admitted for. All else goes the usual way.
"""

from collections.abc import Iterator, Sequence

from slurm_power.core.claim import WHOLE_NODE, Claim
from slurm_power.core.lifecycle import State
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.record import AdmissionRecord, Standing, find_record
from slurm_power.core.window import FOREVER, Window
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.world import nodes_of

_STARTED = frozenset({JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING})
_AT_ONCE = 2_000


def restore(desk: Desk, records: Sequence[JobRecord]) -> Iterator[None]:
    """Enter the running jobs of a first snapshot into an empty book, yielding now and then."""
    lot: list[tuple[Entry, Claim]] = []
    for record in records:
        with desk.faults.apart(str(record.job_id)):
            pair = _plain(desk, record)
            if pair is not None:
                lot.append(pair)
        if len(lot) >= _AT_ONCE:
            desk.book.restore(lot)
            lot = []
            yield
    desk.book.restore(lot)


def _plain(desk: Desk, record: JobRecord) -> tuple[Entry, Claim] | None:
    if record.state not in _STARTED:
        return None
    found = find_record(record.admin_comment)
    if found is None or found.standing is not Standing.ADMIT or found.restarts != record.restarts:
        return None
    counts = desk.world.zones_of(nodes_of(record.node_list))
    if not counts or {charge.zone: charge.nodes for charge in found.charges} != counts:
        return None
    key = found.token if record.array_task_id is None else f"{found.token}.{record.array_task_id}"
    entry = Entry(key, found.token, State.RUNNING, desk.ledger.now, 0.0, record.uid, job_id=record.job_id)
    if record.array_job_id is not None and record.array_task_id is not None:
        entry.task = (record.array_job_id, record.array_task_id)
    entry.record, entry.charges, entry.gate = record, found.charges, (record.job_id, record.restarts)
    return entry, _claim(desk, key, record, found)


def _claim(desk: Desk, key: str, record: JobRecord, found: AdmissionRecord) -> Claim:
    now = desk.ledger.now
    start = min(record.start_time if record.start_time is not None else now, now)
    end = record.end_time if record.end_time is not None else FOREVER
    nodes = max(record.node_count, 1)
    ask = NodeAsk(nodes, 1, max(-(-record.cpus // nodes), 1), -(-record.gpus // nodes), record.exclusive)
    share = max((desk.ledger.nodes[c.zone].share_milli(ask) for c in found.charges), default=WHOLE_NODE)
    return Claim(
        id=key,
        charges=found.charges,
        window=Window(start, max(end, start + 1)),
        group=f"{record.uid}/{record.name}",
        tier=found.tier,
        uid=record.uid,
        account=record.account,
        share_milli=share,
        placed=True,
    )
