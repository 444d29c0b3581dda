"""Held jobs: their order, and the shadow that keeps smaller jobs from delaying the first of them.

Order: who has first call (whose reservation was given back unused), tier, then slack to the deadline or to the class's
tolerated delay, then fair share, forecast accuracy, age.
The first job that does not fit gets a shadow: a claim booked from its earliest start on. Whatever is admitted
meanwhile has to fit beside it, so a smaller job overtakes only if it delays nobody (EASY backfill, on watts and nodes).
"""

from collections.abc import Iterable
from dataclasses import replace

from slurm_power.core.claim import Claim
from slurm_power.core.diagnosis import Forecast, Start
from slurm_power.core.immutable import immutable
from slurm_power.core.ledger import Ledger
from slurm_power.core.placement import Placement, Placer, roomiest
from slurm_power.core.request import Request
from slurm_power.core.steps import Steps, finish
from slurm_power.core.window import FOREVER

SHADOW = "shadow:"
"""What the id of a shadow begins with; the job's own id follows."""

_LEAST_ZONES, _MOST_ZONES = 128, 512
"""In how many zones a start is looked for: twice as many as the job needs at least, within these bounds."""
_NO_SLACK = 1 << 53


@immutable
class Waiting:
    """A held job, with what its place in the queue depends on. Times are instants."""

    request: Request
    submitted: int
    deadline: int | None = None
    max_delay_s: int | None = None
    fair_share: float = 0.5
    """0 to 1, as Slurm has it; more goes first."""
    accuracy: float = 0.5
    """0 to 1: how well the account forecasts; more goes first."""
    first_call: bool = False
    """Whether its reservation has given its watts back for want of use: it is to have them again before others."""
    job_id: int = 0
    """Slurm's number of the job, by which equals are told apart."""

    def slack_s(self, now: int) -> int:
        """How long the job may still wait."""
        latest = [_NO_SLACK]
        if self.deadline is not None:
            latest.append(self.deadline - (self.request.time_limit_s or 0))
        if self.max_delay_s is not None:
            latest.append(self.submitted + self.max_delay_s)
        return min(latest) - now


Rank = tuple[bool, int, int, float, float, int, int, str]


def rank(waiting: Waiting, now: int) -> Rank:
    """Its place in the queue: less goes first; the last tie falls by id."""
    return (
        not waiting.first_call,
        waiting.request.tier.rank,
        waiting.slack_s(now),
        -waiting.fair_share,
        -waiting.accuracy,
        waiting.submitted,
        waiting.job_id,
        waiting.request.id,
    )


def shadow(request: Request, ledger: Ledger, keep: Iterable[str] = ()) -> Claim | None:
    """The claim to book for the head of the queue; None where no start can be told.

    `keep` are the zones of its shadow before this one: they are looked at again, so that its start does not recede
    because other zones have more room today.
    """
    return finish(shading(request, ledger, keep))


def shading(
    request: Request, ledger: Ledger, keep: Iterable[str] = (), ignore: str | None = None
) -> Steps[Claim | None]:
    """The same, step by step; `ignore` names the shadow in whose place it comes.

    What is admitted between two steps may lie in its way: it is a plan, not a promise.
    """
    start = yield from _searching(request, ledger, keep, ignore)
    if start is None:
        return None
    return plan_at(request, start.placement, start.at)


def plan_at(request: Request, placement: Placement, start: int) -> Claim:
    """The shadow of a request that is to start in this place at that instant, which is one to come."""
    claim = request.claim(placement.charges, start, placement.share_milli)
    return replace(claim, id=SHADOW + request.id, tentative=True)


def earliest(request: Request, ledger: Ledger, keep: Iterable[str] = ()) -> Start | None:
    """When and where the request could start, over one zone or several."""
    return finish(_searching(request, ledger, keep, None))


def _searching(
    request: Request, ledger: Ledger, keep: Iterable[str], ignore: str | None
) -> Steps[Start | None]:
    placer = Placer(request, ledger, request.window(ledger.now), ignore)
    parts = -(-request.ask.nodes // max(ledger.most_nodes, 1)) if request.ask.spreads else 1
    count = min(max(_LEAST_ZONES, 2 * parts), _MOST_ZONES)
    known = (zone for zone in keep if zone in ledger.nodes)
    near = roomiest(placer, count // 2, any_nodes=False)
    zones = list(dict.fromkeys([*known, *near, *roomiest(placer, count // 2, any_nodes=True)]))
    if parts == 1:
        best = yield from Forecast(request, ledger, ignore).searching(zones)
        if best is not None:
            return best
    return (yield from _searching_spread(request, ledger, zones, ignore)) if request.ask.spreads else None


def _searching_spread(
    request: Request, ledger: Ledger, zones: list[str], ignore: str | None
) -> Steps[Start | None]:
    """For a job over several zones: the first end of a claim in them at which it finds its place, by bisection."""
    if sum(ledger.nodes[zone].up for zone in zones) < request.ask.nodes:
        return None
    narrowed = replace(request, zones=frozenset(zones) if request.zones is None else request.zones & frozenset(zones))
    first = max(ledger.now + 1, request.not_before)
    ends = {claim.window.end for zone in zones for claim in ledger.claims_in(zone)}
    instants = [first, *sorted(end for end in ends if first < end < FOREVER)]
    low, high = 0, len(instants)
    found: Start | None = None
    while low < high:
        middle = (low + high) // 2
        placement = yield from Placer(narrowed, ledger, request.window(instants[middle]), ignore).placing()
        if placement is None:
            low = middle + 1
        else:
            found, high = Start(instants[middle], placement), middle
    return found
