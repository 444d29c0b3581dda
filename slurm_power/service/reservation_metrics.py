"""Metrics of the reservations that are not over. By state, tier and zone: their names are their owners' affair."""

from collections import Counter

from slurm_power.core.reservation import LIVE, OPEN, ReservationState
from slurm_power.core.steps import Steps
from slurm_power.ports.metrics import Metric
from slurm_power.service.desk import Desk
from slurm_power.service.metric_forms import GAUGE, many, one

_AT_ONCE = 50


def reservation_metrics(desk: Desk) -> Steps[list[Metric]]:
    """All of them."""
    states: Counter[tuple[str, str]] = Counter()
    granted: Counter[tuple[str, str]] = Counter()
    used: Counter[tuple[str, str]] = Counter()
    late = 0
    for number, each in enumerate(list(desk.reserved)):
        if number % _AT_ONCE == 0:
            yield
        tier = each.terms.tier
        states[str(each.state), tier] += 1
        late += each.state is ReservationState.APPROVED and each.terms.window.start <= desk.ledger.now
        if each.state in OPEN:
            drawn = desk.reserved.used_w(each)
            for grant in each.grants:
                granted[grant.zone, tier] += grant.watts_w
                used[grant.zone, tier] += min(drawn.get(grant.zone, 0), grant.watts_w)
    every = ((str(state), tier.name) for state in LIVE for tier in desk.tiers)
    whole = {**dict.fromkeys(every, 0), **states}
    meaning = "Reservations whose window is open and that have not begun."
    return [
        many("reservations", GAUGE, "Reservations that are not over.", ("state", "tier"), whole.items()),
        one("reservations_late", GAUGE, meaning, late),
        many(
            "reservation_granted_watts",
            GAUGE,
            "Granted to reservations whose window is open, those that have given their watts back included.",
            ("zone", "tier"),
            granted.items(),
        ),
        many("reservation_used_watts", GAUGE, "Of that, what their jobs hold.", ("zone", "tier"), used.items()),
    ]
