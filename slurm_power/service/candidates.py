"""Jobs that may be preempted now: by sacctmgr's QOS, the site's notices, and what Slurm shows of each."""

from collections.abc import Iterator

from slurm_power.core.envelope import parse_comment
from slurm_power.core.errors import EnvelopeError
from slurm_power.core.lifecycle import State
from slurm_power.core.offer import Candidate
from slurm_power.core.policy import Tier
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.world import nodes_of

_AT_ONCE = 200
"""Entries that are looked at before others get their turn."""


def candidates(
    desk: Desk, lawful: frozenset[str] | None, found: list[Candidate], *, over: bool = False
) -> Iterator[None]:
    """Fill `found` with the candidates of these QOS (None: of all), in order of key, yielding now and then.

    `over`: a limit is passed, and nobody is spared because he has only just started.
    """
    for number, key in enumerate(sorted(desk.book.keys_in(State.RUNNING))):
        if number % _AT_ONCE == 0:
            yield
        entry = desk.book.get(key)
        if entry is None or (lawful is not None and (entry.record is None or entry.record.qos not in lawful)):
            continue
        if obstacle(desk, entry, over=over) is None:
            found.append(candidate(desk, entry))


def obstacle(desk: Desk, entry: Entry, *, over: bool = False) -> str | None:
    """Why a running job may not be preempted now, whoever asks; None if it may."""
    record, claim = entry.record, desk.ledger.claims.get(entry.key)
    if record is None or claim is None or record.state is not JobState.RUNNING or entry.touched > desk.seen:
        return "it is not running, or has just changed"
    if desk.preempting.victim(entry.key) is not None:
        return "it gives way already"
    if claim.within:
        return "it draws on a reservation, and its end would free nothing for others"
    if record.het_job_id is not None:
        return "it is a component of a heterogeneous job"
    if not desk.in_scope(record):
        return "the mode does not act on it"
    tier = tier_of(desk, record)
    if tier.notice_s is None:
        return f"tier {tier.name} is never preempted"
    unfit = desk.preempting.law.obstacle(record)
    return unfit if unfit is not None or over else _spared(desk, record)


def _spared(desk: Desk, record: JobRecord) -> str | None:
    """Whether it has not run for long enough yet."""
    ran_s = desk.ledger.now - _start(desk, record)
    exempt_s = desk.preempting.law.exempt_s(record.qos)
    if ran_s < exempt_s:
        return f"PreemptExemptTime spares it for its first {exempt_s} s"
    min_run_s = desk.site.preemption.min_run
    if record.restarts and ran_s < min_run_s:
        return f"it was requeued, and runs {min_run_s} s before it may have to give way again"
    return None


def candidate(desk: Desk, entry: Entry) -> Candidate:
    """An entry on nodes as a candidate. Its tier's notice is 0 where that is never preempted: it is one already."""
    record = entry.record
    if record is None:
        raise ValueError(f"job {entry.name} is preempted without a record")
    tier = tier_of(desk, record)
    return Candidate(
        claim=desk.ledger.claims[entry.key],
        rank=tier.rank,
        started=_start(desk, record),
        job_id=record.job_id,
        notice_s=tier.notice_s or 0,
        lost_s=lost_s(desk, entry, record),
        on=nodes_of(record.node_list),
    )


def tier_of(desk: Desk, record: JobRecord) -> Tier:
    """The tier that a job's QOS stands for."""
    policy = desk.site.policy
    by_qos = {tier.qos: tier for tier in policy.tiers.values()}
    return by_qos.get(record.qos, policy.tiers[policy.default_tier])


def lost_s(desk: Desk, entry: Entry, record: JobRecord) -> int:
    """Work that would be lost now: node-seconds since the last checkpoint, told or due by `ckpt=`, or the start."""
    now, since = desk.ledger.now, _start(desk, record)
    every_s = _interval_s(desk, record)
    if every_s:
        since += (now - since) // every_s * every_s
    told = desk.preempting.checkpoints.get(entry.name)
    return (now - max(since, min(told or 0, now))) * record.node_count


def _start(desk: Desk, record: JobRecord) -> int:
    return min(record.start_time if record.start_time is not None else desk.ledger.now, desk.ledger.now)


def _interval_s(desk: Desk, record: JobRecord) -> int:
    """How often the job says that it writes a checkpoint by itself; 0 where it does not."""
    if "ckpt=" not in record.comment:
        return 0
    try:
        envelope = parse_comment(record.comment, record.submit_time, desk.site.timezone)
    except EnvelopeError:
        return 0
    return (envelope.ckpt_s or 0) if envelope is not None else 0
