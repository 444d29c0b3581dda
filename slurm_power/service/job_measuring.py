"""The draw of jobs on nodes, from what is measured of their nodes, else of their zones."""

from collections.abc import Mapping
from typing import NamedTuple

from slurm_power.core.claim import Claim
from slurm_power.core.gauge import Draw
from slurm_power.core.lifecycle import State
from slurm_power.core.steps import Steps
from slurm_power.core.units import ceil_share, format_watts
from slurm_power.ports import JobState, Kind, Rule
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.drawn import drawn
from slurm_power.service.draws import Element
from slurm_power.service.envelopes import envelope_of
from slurm_power.service.world import nodes_of

EVERY_S = 5
"""How often jobs are looked at."""
_MOST_S = 60
"""No more than so long counts for one look: after a silence nobody knows what was drawn meanwhile."""
_AT_ONCE = 50
OVER_MAX = "over-max"
"""The action of a line about a run that draws more than its max."""


class _Seen(NamedTuple):
    """What a job draws: W, whether on nodes that are all its own, and when that was measured."""

    watts: int
    alone: bool
    at: float


def measure_jobs(desk: Desk) -> Steps[None]:
    """Note what each job on nodes draws now; for jobs of which nothing fresh is known nothing is noted."""
    now, measured = desk.now(), desk.measured
    seconds = min(now - measured.jobs_at, _MOST_S) if measured.jobs_at else EVERY_S
    if seconds < EVERY_S or not any(True for _ in measured.draws.elements()):
        return
    measured.jobs_at = now
    on_node = measured.on_nodes_w = yield from _sharing(desk)
    alone: set[str] = set()
    zones: dict[str, Draw | None] = {}
    for number, key in enumerate(desk.book.keys_in(State.RUNNING)):
        if number % _AT_ONCE == 0:
            yield
        entry, claim = desk.book.get(key), desk.ledger.claims.get(key)
        if entry is None or claim is None or entry.record is None or entry.record.state is not JobState.RUNNING:
            continue
        found = _by_nodes(desk, entry, claim, on_node) or _by_zones(desk, claim, zones)
        if found is None or found.at <= claim.window.start:
            continue  # what was measured before it began was drawn by others
        ran_s = max(now - claim.window.start, 0)
        desk.metering.drawn.add(key, found.watts, min(seconds, ran_s), whole=found.alone)
        if found.alone:
            alone.add(key)
            _beside_its_max(desk, entry, claim, found, seconds)
    measured.above.keep(alone)
    desk.metering.drawn.keep(desk.book.entries)


def _beside_its_max(desk: Desk, entry: Entry, claim: Claim, found: _Seen, seconds: int) -> None:
    """A run on nodes of its own that draws more than its max is told of once, and charged what it draws."""
    watts = found.watts
    if watts > claim.max_w and not _declares(entry):
        return  # its max is an estimate of ours
    above = desk.measured.above.look(entry.key, watts, claim.max_w, found.at)
    if above is None:
        return
    desk.watches.draws_more(entry, watts, seconds, desk.ledger.now)
    if desk.measured.above.untold(entry.key):
        cause = f"it draws {format_watts(watts)}, more than its max of {format_watts(claim.max_w)}"
        desk.book.decided(entry, OVER_MAX, desk.ledger.now, desk.mode, cause=cause, rule=Rule.OVER_MAX)


def _declares(entry: Entry) -> bool:
    """Whether its comment says what it draws."""
    envelope = envelope_of(entry)
    return envelope is not None and (envelope.est is not None or envelope.max is not None)


def _sharing(desk: Desk) -> Steps[dict[str, int]]:
    """Node → Σ est of the jobs on it, of those nodes that are measured, in W."""
    found: dict[str, int] = {}
    for number, key in enumerate(desk.book.keys_in(State.RUNNING)):
        if number % _AT_ONCE == 0:
            yield
        entry, claim = desk.book.get(key), desk.ledger.claims.get(key)
        if entry is None or claim is None or entry.record is None:
            continue
        nodes = nodes_of(entry.record.node_list)
        for node in nodes:
            if desk.measured.draws.measured(Element(Kind.NODE, node)):
                found[node] = found.get(node, 0) + -(-claim.est_w // len(nodes))
    return found


def _by_nodes(desk: Desk, entry: Entry, claim: Claim, on_node: Mapping[str, int]) -> _Seen | None:
    """By its nodes; None unless all of them are measured."""
    nodes = nodes_of(entry.record.node_list) if entry.record is not None else ()
    if not nodes or any(node not in on_node for node in nodes):
        return None
    est_w, watts, own, at = -(-claim.est_w // len(nodes)), 0, True, float("inf")
    for node in nodes:
        draw = desk.measured.draws.draw(Element(Kind.NODE, node), desk.ledger.now)
        if draw is None:
            return None
        alone = on_node[node] <= est_w
        watts += draw.latest_w if alone else ceil_share(draw.latest_w, est_w, on_node[node])
        own, at = own and alone, min(at, draw.at)
    return _Seen(watts, own, at)


def _by_zones(desk: Desk, claim: Claim, known: dict[str, Draw | None]) -> _Seen | None:
    """The same as a part of what its zones draw beside their baselines; that is looked up once a look."""
    watts, at = 0, float("inf")
    for charge in claim.charges:
        zone = desk.site.topology.zones.get(charge.zone)
        if charge.zone not in known:
            known[charge.zone] = drawn(desk, Element(Kind.ZONE, charge.zone)) if zone is not None else None
        draw = known[charge.zone]
        all_w = desk.measured.expected.all_w.get(charge.zone, 0)
        if zone is None or draw is None or all_w < charge.est_w:
            return None
        watts += ceil_share(max(draw.latest_w - zone.baseline_w, 0), charge.est_w, all_w)
        at = min(at, draw.at)
    return _Seen(watts, alone=False, at=at)
