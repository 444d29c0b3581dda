"""Usage, cost and service levels as `sreservation usage` and `spower report` show them, in the shapes of docs/json.

What is counted here reads the database, and runs in a thread of its own: it touches nothing of the desk.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction

from slurm_power.config import Site
from slurm_power.core.claim import Charge
from slurm_power.core.immutable import immutable
from slurm_power.core.reservation import Owner, Reservation, ReservationState
from slurm_power.core.score import DAY_S, ceiling
from slurm_power.core.showback import Month, Tariff, Total, pieces, priced, rounded, watt_hours
from slurm_power.core.usage import HOUR_S, Usage, hour_of
from slurm_power.core.window import Window, format_instant
from slurm_power.ports import Decision, Store
from slurm_power.service.book import Entry
from slurm_power.service.costs import total_of
from slurm_power.service.desk import Desk
from slurm_power.service.job_draws import RunDraw
from slurm_power.service.metering import limit_s
from slurm_power.service.rights import Rights

SCHEMA = 1
Row = dict[str, object]


class By(StrEnum):
    """What usage is grouped by."""

    ACCOUNT = "account"
    USER = "user"
    RESERVATION = "reservation"
    TIER = "tier"


_KEYS: Mapping[By, Callable[[Usage], str]] = {
    By.ACCOUNT: lambda usage: usage.account,
    By.USER: lambda usage: str(usage.uid),
    By.RESERVATION: lambda usage: usage.reservation,
    By.TIER: lambda usage: usage.tier,
}


@immutable
class Asked:
    """A question about usage, with all that it takes to answer it."""

    period: Window
    by: By
    rights: Rights
    private: bool
    """Whether users may learn of their own jobs only."""
    tariffs: tuple[Tariff, ...]
    months: tuple[Month, ...]

    def sees(self, usage: Usage, known: Mapping[str, Reservation]) -> bool:
        """Whether who asks may learn of it: of his own, of accounts that he coordinates, of reservations that he sees,
        and where jobs are not private of his accounts.
        """
        rights, reservation = self.rights, known.get(usage.reservation)
        if rights.administers or usage.account in rights.coordinates:
            return True
        if reservation is not None and rights.may_see(reservation):
            return not self.private or usage.reserved_ws > 0 or usage.uid == rights.uid
        return usage.uid == rights.uid or (usage.account in rights.accounts and not self.private)


def whole_hours(since: int, until: int) -> Window:
    """The period in whole hours, as usage is kept; one at least."""
    start = hour_of(since)
    return Window(start, max(-(-until // HOUR_S) * HOUR_S, start + HOUR_S))


def gather(store: Store, asked: Asked, known: Mapping[str, Reservation]) -> dict[str, Total]:
    """The totals by what was asked; `known` are the reservations by id."""
    totals: dict[str, Total] = {}
    for piece in pieces(asked.period, asked.months, asked.tariffs):
        rows = piece.rows if isinstance(piece, Month) else priced(by_day(store, piece.window), piece.tariffs)
        for one in rows:
            if asked.sees(one.usage, known):
                totals.setdefault(_KEYS[asked.by](one.usage), Total()).add(one)
    return totals


def by_day(store: Store, window: Window) -> Iterator[Usage]:
    """The usage of a window, of which no more than a day is in memory."""
    for start in range(window.start, window.end, DAY_S):
        yield from store.usage(since=start, until=min(start + DAY_S, window.end))


def dishonoured_ws(asked: Asked, known: Mapping[str, Reservation]) -> dict[str, int]:
    """By what was asked, the watt-seconds that reservations were granted and did not get: those that were missed."""
    found: dict[str, int] = {}
    for one in known.values():
        window = one.terms.window
        since = one.since if one.since < window.end else window.start  # missed at its end it had never begun
        start, end = max(since, window.start, asked.period.start), min(window.end, asked.period.end)
        if one.state is ReservationState.MISSED and start < end and asked.sees(_of(one), known):
            key = _KEYS[asked.by](_of(one))
            found[key] = found.get(key, 0) + one.granted_w * (end - start)
    return found


def _of(one: Reservation) -> Usage:
    return Usage(one.id, ",".join(one.terms.owner.accounts), one.created_by, one.terms.tier, 0, reserved_ws=1)


def usage_table(
    desk: Desk,
    asked: Asked,
    totals: Mapping[str, Total],
    known: Mapping[str, Reservation],
    gaps: Sequence[Decision],
) -> Row:
    """The answer about usage, without the zones."""
    missed = dishonoured_ws(asked, known)
    keys = sorted({*totals, *missed}, key=lambda key: (_name(asked.by, key, known), key))
    rows = [_usage_row(desk, asked.by, key, totals.get(key, Total()), missed.get(key, 0), known) for key in keys]
    return {
        "schema": SCHEMA,
        "since": format_instant(asked.period.start),
        "until": format_instant(asked.period.end),
        "by": str(asked.by),
        "rows": rows,
        "unknown": [_gap(line) for line in gaps],
    }


def _gap(line: Decision) -> Row:
    start = line.numbers["from_s"]
    return {"from": format_instant(start), "until": format_instant(start + line.numbers["away_s"])}


def _name(by: By, key: str, known: Mapping[str, Reservation]) -> str:
    return known[key].name if by is By.RESERVATION and key in known else key


def _usage_row(
    desk: Desk, by: By, key: str, total: Total, missed_ws: int, known: Mapping[str, Reservation]
) -> Row:
    score = desk.metering.score(Owner(accounts=(key,)), desk.ledger.now) if by is By.ACCOUNT and key else None
    promised_ws = total.reserved_ws + missed_ws
    return {
        "name": _name(by, key, known),
        "id": key if by is By.RESERVATION else None,
        "uid": int(key) if by is By.USER else None,
        "reserved_wh": watt_hours(total.reserved_ws),
        "used_wh": watt_hours(total.used_ws),
        "jobs_wh": watt_hours(total.jobs_ws),
        "use": total.use,
        "honoured": round(total.reserved_ws / promised_ws, 3) if promised_ws else None,
        "runs": total.runs,
        "accuracy": total.accuracy,
        "score": float(score) if score is not None else None,
        "ceiling": float(_ceiling(desk.site, score)) if by is By.ACCOUNT and key else None,
        "costs": _costs(total),
    }


def _ceiling(site: Site, score: Fraction | None) -> Fraction:
    rules = site.reservations
    return ceiling(rules.max_share, score, rules.score.floor)


def _costs(total: Total) -> list[Row]:
    return [{"currency": currency, "amount": rounded(cost)} for currency, cost in sorted(total.costs.items())]


# -- one job ---------------------------------------------------------------------------------------------------------


def job_share(desk: Desk, entry: Entry) -> Row | None:
    """What a job has held so far and what that costs, and the same if it runs to its time limit; None without watts."""
    held, now = desk.metering.accrual.held(entry.key), desk.ledger.now
    if held is None:
        if entry.ask is None:
            return None
        one = entry.ask.request.with_copies(1)
        held = desk.metering.holding(entry, one.claim((Charge("", one.ask.nodes, one.est_w, one.max_w),), now, 0))
    limit, run = limit_s(entry), desk.metering.drawn.get(entry.key) or RunDraw()
    so_far, whole = (
        total_of(held, end, desk.site.tariffs, run.above_max_ws) for end in (now, held.since + (limit or 0))
    )
    return {
        "held_wh": watt_hours(so_far.jobs_ws),
        "above_max_wh": watt_hours(run.charged_ws),
        "costs": _costs(so_far),
        "limit_wh": watt_hours(whole.jobs_ws) if limit is not None else None,
        "limit_costs": _costs(whole) if limit is not None else [],
    }


# -- service levels --------------------------------------------------------------------------------------------------


def level_table(site: Site, asked: Asked, totals: Mapping[str, Total], misses: Sequence[Decision]) -> Row:
    """The answer of `spower report --sla`: by tier, the highest first, and then tiers that there are no more."""
    causes: dict[str, Counter[str]] = {}
    for line in misses:
        causes.setdefault(line.rule.partition(".")[2], Counter())[line.cause] += 1
    tiers = [*site.policy.tiers, *sorted(totals.keys() - site.policy.tiers.keys())]
    return {
        "schema": SCHEMA,
        "since": format_instant(asked.period.start),
        "until": format_instant(asked.period.end),
        "tiers": [_level_row(site, tier, totals.get(tier, Total()), causes.get(tier, Counter())) for tier in tiers],
    }


def _level_row(site: Site, tier: str, total: Total, causes: Counter[str]) -> Row:
    level = (site.sla or {}).get(tier)
    part = Fraction(total.missed, total.runs) if total.runs else None
    return {
        "tier": tier,
        "max_delay_s": level.max_delay if level is not None else None,
        "max_shortfall_s": level.max_shortfall if level is not None else None,
        "max_burst_shortfall_s": level.max_burst_shortfall if level is not None else None,
        "min_run_s": level.min_run if level is not None else None,
        "error_budget": float(level.error_budget) if level is not None else None,
        "runs": total.runs,
        "missed": total.missed,
        "missed_part": round(float(part), 4) if part is not None else None,
        "kept": (part is None or part <= level.error_budget) if level is not None else None,
        "causes": dict(sorted(causes.items())),
    }
