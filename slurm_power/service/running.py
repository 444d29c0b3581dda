"""Jobs that a snapshot shows on nodes: what runs is a fact, and is counted whatever the budgets say."""

from dataclasses import replace

from slurm_power.core.claim import WHOLE_NODE, Claim, split_over
from slurm_power.core.lifecycle import CLAIMING, Event, State
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.record import find_record
from slurm_power.core.request import Request
from slurm_power.core.window import Window
from slurm_power.ports import JobRecord
from slurm_power.service.asking import Ask
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.facts import from_record
from slurm_power.service.launch import as_admitted, claim_on

_SEEN = "seen on nodes"


def on_nodes(desk: Desk, entry: Entry, record: JobRecord, counts: dict[str, int]) -> None:
    """Count a job on so many nodes in each zone."""
    entry.hold = None
    if not counts:
        if entry.state is not State.FREE:
            desk.book.move(entry, Event.FREE)
        return
    start = record.start_time if record.start_time is not None else desk.now()
    made = claim_on(desk, entry, counts, min(start, desk.now()), record.end_time)
    claim = as_admitted(desk, entry, _by_record(desk, entry, record, counts, start)) if isinstance(made, str) else made
    rest = desk.book.get(entry.token)
    if entry.state not in CLAIMING and rest is not None and rest is not entry:
        desk.book.take_copy(rest)
    if entry.gate != (record.job_id, record.restarts):
        _ungated(desk, entry, record, claim)
    through_s = desk.world.runs_through_s(record, claim.tier, claim.within)  # it, or the law, may have changed since
    desk.book.move(entry, Event.LAUNCH, replace(claim, placed=True, through_cuts_s=through_s))


def _by_record(desk: Desk, entry: Entry, record: JobRecord, counts: dict[str, int], start: int) -> Claim:
    """A claim for a running job whose envelope cannot be read: by its admission record, else by its nodes' part.

    What runs has to be counted, whatever its comment says by now.
    """
    policy = desk.site.policy
    found = find_record(record.admin_comment)
    charges = found.charges if found is not None else ()
    topology = desk.site.topology
    part_w = sum(topology.zones[zone].node_share_w * nodes for zone, nodes in counts.items())
    by_qos = {tier.qos: tier for tier in policy.tiers.values()}
    request = Request(
        id=entry.key,
        tier=by_qos.get(record.qos, policy.tiers[policy.default_tier]),
        est_w=sum(c.est_w for c in charges) or part_w,
        max_w=sum(c.max_w for c in charges) or part_w,
        group=f"{record.uid}/{record.name}",
        ask=NodeAsk(nodes=record.node_count),
        time_limit_s=record.time_limit_s,
        uid=record.uid,
        account=record.account,
    )
    entry.ask = Ask(request=request, facts=from_record(record), submitted=record.submit_time)
    claim = request.claim(split_over(counts, request.est_w, request.max_w), min(start, desk.now()), WHOLE_NODE)
    end = record.end_time
    return claim if end is None or end <= claim.window.start else claim.at(Window(claim.window.start, end))


def _ungated(desk: Desk, entry: Entry, record: JobRecord, claim: Claim) -> None:
    """A start that the gate did not see: before we were there, while we were away, or past it."""
    entry.gate, entry.gate_told = (record.job_id, record.restarts), ()
    short = desk.shortfall_instead(entry.key, claim)
    if short is None:
        desk.book.decided(entry, "found-running", desk.now(), desk.mode, cause=_SEEN)
        return
    reason = Reason(Code.OVER, short.element, short.asked_w, short.free_w)
    desk.book.decided(entry, "found-running-over", desk.now(), desk.mode, [reason], cause=_SEEN)
