"""Runs that give way: how a preemption of them begins, and who has not left its nodes yet."""

from collections.abc import Sequence

from slurm_power.core.claim import Charge
from slurm_power.core.giving_way import PLACED, UNTOUCHED, Preemption, Stage, Trigger, Victim
from slurm_power.core.lifecycle import State
from slurm_power.core.offer import Candidate
from slurm_power.core.window import Window
from slurm_power.service.book import Entry
from slurm_power.service.candidates import candidate, tier_of
from slurm_power.service.desk import Desk


def begun(
    desk: Desk,
    trigger: Trigger,
    beneficiary: str,
    tier: str,
    victims: Sequence[Candidate],
    *,
    charges: tuple[Charge, ...] = (),
    share_milli: int = 0,
    cut_at: int | None = None,
) -> Preemption:
    """A preemption of these, kept from here on; `charges` are the place that is kept for whom it is for."""
    made = tuple(victim for one in victims if (victim := _victim(desk, one)) is not None)
    now = desk.ledger.now
    one = Preemption(
        desk.new_token(), trigger, beneficiary, tier, Stage.PLANNED, now, made, charges, share_milli, cut_at
    )
    desk.preempting.put(one)
    desk.preempting.why_not.pop(beneficiary, None)
    return one


def keep(desk: Desk, one: Preemption) -> None:
    """Have others plan around the place of the job that a preemption is for, from when victims have left.

    Nothing is kept where it is not for a job, or the job or a zone of its place is not known any more.
    """
    entry = desk.book.get(one.beneficiary) if one.trigger in PLACED else None
    if entry is None or entry.ask is None or any(charge.zone not in desk.ledger.nodes for charge in one.charges):
        return
    start = max(desk.ledger.now + 1, one.strike_at or desk.ledger.now + one.notice_s)
    claim = entry.ask.request.with_copies(1).claim(one.charges, start, one.share_milli)
    desk.preempting.keep(one.beneficiary, claim.at(Window(start, max(claim.window.end, start + 1))))


def _victim(desk: Desk, one: Candidate) -> Victim | None:
    entry = desk.book.get(one.id)
    if entry is None or entry.record is None:
        return None
    record = entry.record
    return Victim(
        key=entry.key,
        job=entry.name,
        target=record.target,
        job_id=record.job_id,
        token=entry.token,
        uid=entry.uid,
        account=record.account,
        restarts=record.restarts,
        tier=tier_of(desk, record).name,
        est_w=one.claim.est_w,
        notice_s=one.notice_s,
        lost_s=one.lost_s,
        means=desk.preempting.law.means(record),
        zones=tuple(charge.zone for charge in one.claim.charges),
    )


def on_nodes(desk: Desk, victim: Victim) -> Entry | None:
    """The entry of a victim whose run has not left its nodes; None once it has."""
    entry = desk.book.get(victim.key) or desk.book.of_job(victim.job_id)
    if entry is None or entry.state is not State.RUNNING or entry.record is None:
        return None
    return entry if entry.record.restarts == victim.restarts else None


def leaving(desk: Desk, but: Preemption | None = None, by: int | None = None) -> list[Candidate]:
    """All who give way already: for a choice as if they had left, so that nobody has to make up for them.

    `by` an instant: those who are to leave before it. Without it those who leave for a cut that has not begun do not
    count: what they give back is not for others.
    """
    others = (one for one in desk.preempting if one is not but and _counts_as_gone(desk, one, by))
    going = [victim for one in others for victim in one.victims]
    entries = [entry for victim in going if (entry := on_nodes(desk, victim)) is not None]
    return [candidate(desk, entry) for entry in entries if entry.key in desk.ledger.claims]


def _counts_as_gone(desk: Desk, one: Preemption, by: int | None) -> bool:
    """Whether its victims are to leave their nodes in time; those who are about to are."""
    now = desk.ledger.now
    if one.stage not in UNTOUCHED:
        return True
    if by is None:
        return one.cut_at is None or one.cut_at <= now
    return (one.strike_at or now + one.notice_s) <= by


def not_started(desk: Desk) -> list[Candidate]:
    """Those who draw nothing yet: the launch gate turns them away where they are too much, and no work is lost."""
    keys = [*desk.book.keys_in(State.BINDING), *desk.book.keys_in(State.ADMITTED)]
    claims = (desk.ledger.claims.get(key) for key in keys)
    return [Candidate(claim, 0, desk.ledger.now) for claim in claims if claim is not None and not claim.within]
