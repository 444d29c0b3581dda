"""Jobs that may be preempted now: by sacctmgr's QOS, the site's notices, and what Slurm shows of each."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC
from functools import lru_cache
from operator import attrgetter

from slurm_power.core.envelope import parse_comment
from slurm_power.core.errors import EnvelopeError
from slurm_power.core.lifecycle import State
from slurm_power.core.offer import Candidate
from slurm_power.core.policy import Tier
from slurm_power.core.steps import Steps
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.world import nodes_of

_AT_ONCE = 200
"""Entries that are looked at before others get their turn."""


def candidates(
    desk: Desk,
    lawful: frozenset[str] | None,
    zones: Collection[str] | None = None,
    *,
    over: bool = False,
    emergency: Sequence[str] = (),
) -> Steps[list[Candidate]]:
    """The candidates of these QOS in these zones (None: of all), in order of id.

    `over`: a limit is passed, and nobody is spared because he has only just started. `emergency`: these tiers alone, in
    this order, and without notice.
    """
    found: list[Candidate] = []
    for number, key in enumerate(desk.book.keys_in(State.RUNNING)):
        if number % _AT_ONCE == 0:
            yield
        entry, claim = desk.book.get(key), desk.ledger.claims.get(key)
        if entry is None or entry.record is None or claim is None:
            continue
        if lawful is not None and entry.record.qos not in lawful:
            continue
        if zones is not None and all(charge.zone not in zones for charge in claim.charges):
            continue
        if emergency and tier_of(desk, entry.record).name not in emergency:
            continue
        if obstacle(desk, entry, over=over, emergency=bool(emergency)) is None:
            one = candidate(desk, entry)
            found.append(_without_notice(desk, entry.record, one, emergency) if emergency else one)
    return sorted(found, key=attrgetter("id"))


def _without_notice(desk: Desk, record: JobRecord, one: Candidate, emergency: Sequence[str]) -> Candidate:
    """The same for an emergency: who is named last there goes last."""
    return replace(one, notice_s=0, rank=len(emergency) - emergency.index(tier_of(desk, record).name))


def some_day(desk: Desk, lawful: frozenset[str], zones: Iterable[str]) -> list[Candidate]:
    """Who of these QOS holds watts in a few zones and may be preempted, if not now then later; in order of id."""
    ids = sorted({claim_id for zone in zones for claim_id in desk.ledger.ids_in(zone)})
    entries = [entry for claim_id in ids if (entry := desk.book.get(claim_id)) is not None]
    return [
        candidate(desk, entry)
        for entry in entries
        if entry.record is not None and entry.record.qos in lawful and not lasting_obstacle(desk, entry, entry.record)
    ]


def obstacle(desk: Desk, entry: Entry, *, over: bool = False, emergency: bool = False) -> str | None:
    """Why a running job may not be preempted now, whoever asks; None if it may."""
    record, claim = entry.record, desk.ledger.claims.get(entry.key)
    if record is None or claim is None or record.state is not JobState.RUNNING or entry.touched > desk.seen:
        return "it is not running, or has just changed"
    if desk.preempting.victim(entry.key) is not None:
        return "it gives way already"
    unfit = lasting_obstacle(desk, entry, record, over=over, emergency=emergency)
    return unfit if unfit is not None or over else _spared(desk, record)


def lasting_obstacle(
    desk: Desk, entry: Entry, record: JobRecord, *, over: bool = False, emergency: bool = False
) -> str | None:
    """Why a job with a claim may not be preempted later either; None if it may."""
    if desk.ledger.kept_beside(desk.ledger.claims[entry.key]):
        return "it draws on a reservation, and its end would free nothing for others"
    if record.het_job_id is not None:
        return "it is a component of a heterogeneous job"
    if not desk.in_scope(record):
        return "the mode does not act on it"
    tier = tier_of(desk, record)
    if tier.notice_s is None and not emergency:
        return f"tier {tier.name} is never preempted"
    if entry.token in desk.preempting.protected and not over:
        return "an operator protects it"
    return desk.preempting.law.obstacle(record)


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
    tier = next((tier for tier in desk.tiers if tier.qos == record.qos), None)
    return tier if tier is not None else desk.site.policy.tiers[desk.site.policy.default_tier]


def lost_s(desk: Desk, entry: Entry, record: JobRecord) -> int:
    """Work that would be lost now: node-seconds since the last checkpoint, told or due by `ckpt=`, or the start."""
    now, since = desk.ledger.now, _start(desk, record)
    every_s = _interval_s(record.comment) if "ckpt=" in record.comment else 0
    if every_s:
        since += (now - since) // every_s * every_s
    told = desk.preempting.checkpoints.get(entry.name)
    return (now - max(since, min(told or 0, now))) * record.node_count


def _start(desk: Desk, record: JobRecord) -> int:
    return min(record.start_time if record.start_time is not None else desk.ledger.now, desk.ledger.now)


@lru_cache(maxsize=16_384)
def _interval_s(comment: str) -> int:
    """How often a job says that it writes a checkpoint by itself; 0 where it does not. Cached, for comments are alike.

    Its deadline does not matter here, and so neither does when it was submitted.
    """
    try:
        envelope = parse_comment(comment, 0, UTC)
    except EnvelopeError:
        return 0
    return (envelope.ckpt_s or 0) if envelope is not None else 0
