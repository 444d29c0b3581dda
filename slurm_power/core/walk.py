"""One zone or feed looked at over time: what is there at each instant of a window, level by level.

At later instants a live claim counts until its window's end, rounded up to a whole minute. What bursts remain of live
claims then is an upper bound, exact where no group has several of them; it is nothing once all have ended.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from slurm_power.core.ahead import Ahead
from slurm_power.core.derate import Planned
from slurm_power.core.level import Level
from slurm_power.core.live import Ending
from slurm_power.core.timeline import Sums
from slurm_power.core.topology import usable_w
from slurm_power.core.window import FOREVER, Window

STRAY_S = 900
"""What is measured now says nothing about whatever begins later than this, in s."""

Change = Callable[[Level, int], None]
"""What happens to a level where something begins (1) or ends (−1)."""


class Counted(NamedTuple):
    """Other limits and plans that begin before an instant count; `yields`: what gives way to a cut does so for him."""

    before: int = FOREVER
    yields: bool = True


ALL = Counted()


def _any_level(_: Level) -> bool:
    return True


def levels(
    meter: Ahead,
    window: Window,
    now: int,
    ignore: str | None = None,
    looks_into: Callable[[Level], bool] = _any_level,
    *,
    ends: bool = False,
    counted: Counted = ALL,
) -> Iterator[Level]:
    """What is there over the window, in order of time; one object, changed between yields.

    There is one for the start and one wherever something begins, or what begins later ends; with `ends` also where
    live claims end, as long as `looks_into` affirms the level before. Parts of the window over which it denies a
    level that is at least as high are left out.
    """
    start = max(window.start, now)
    end = max(window.end, start + 1)
    level, position = level_from(meter, start, now)
    level.yields = counted.yields
    instants = meter.instants() if start > now or meter.ahead or ends else ()
    changes = _changes(meter, Window(start, end), now, ignore, counted)
    cuts = sorted({start, end, *(change[0] for change in changes if change[0] < end)})
    changed = 0

    def pass_on(instant: int) -> None:
        nonlocal position
        # What has outrun its window is here now; of a later instant nobody can say more than its window does.
        while position < len(instants) and instants[position] <= instant and instant > now:
            level.release(meter.ends[instants[position]])
            position += 1

    def highest(instant: int, sums: Sums) -> bool:
        pass_on(instant)
        level.reserve(sums)
        return looks_into(level)

    for cut, after in pairwise(cuts):
        pass_on(cut)
        while changed < len(changes) and changes[changed][0] <= cut:
            _, sign, change = changes[changed]
            change(level, sign)
            changed += 1
        for at, until, sums in meter.reservations.over(Window(cut, after), highest):
            pass_on(at)
            level.reserve(sums)
            level.at, level.until = at, until
            while ends and position < len(instants) and instants[position] < until and looks_into(level):
                if max(instants[position], now + 1) >= until:
                    break
                level.until = max(instants[position], now + 1)
                yield level
                level.at, level.until = level.until, until
                pass_on(level.at)
            yield level


def limit_changes(meter: Ahead, now: int) -> dict[int, list[tuple[Change, int]]]:
    """Instant to come → what happens to what it may carry: begins (1) or ends (−1)."""
    found: dict[int, list[tuple[Change, int]]] = {}
    if meter.strays:
        found[now + STRAY_S] = [(lambda level, _: level.long_after(meter), 1)]
    for one in meter.planned:
        change = change_of(meter, one, now)
        for at, sign in ((one.window.start, 1), (one.window.end, -1)):
            if at < FOREVER:
                found.setdefault(at, []).append((change, sign))
    return found


def level_from(meter: Ahead, start: int, now: int) -> tuple[Level, int]:
    """The live claims at an instant, and how many of the ends in order have passed by then."""
    level = Level(meter)
    if start > now + STRAY_S:
        level.long_after(meter)
    if start <= now:
        return level, 0
    ends = meter.ends
    instants = meter.instants()
    passed = bisect_right(instants, start)
    if passed <= len(instants) // 2:
        for end in instants[:passed]:
            level.release(ends[end])
        return level, passed
    gone = Ending()  # by what is left, for that is less to add up
    gone.est_w, gone.burst_w = meter.committed_w - meter.baseline_w, meter.bursts_sum_w
    gone.yielding_w = meter.yielding_w
    gone.squares, gone.node_milli = meter.apart_squares, meter.node_milli
    for end in [*instants[passed:], *(FOREVER,) * (FOREVER in ends)]:
        ending = ends[end]
        gone.est_w -= ending.est_w
        gone.yielding_w -= ending.yielding_w
        gone.burst_w -= ending.burst_w
        gone.squares -= ending.squares
        gone.node_milli -= ending.node_milli
    level.release(gone)
    return level, passed


def _changes(
    meter: Ahead, within: Window, now: int, ignore: str | None, counted: Counted
) -> list[tuple[int, int, Change]]:
    """(instant, 1 or −1, what happens): where the level changes by other than the timeline."""
    before = counted.before
    booked = (booking for claim_id, booking in meter.bookings.items() if claim_id != ignore)
    found: list[tuple[Window, Change]]
    found = [(one.window, partial(Level.book, booking=one)) for one in booked if one.window.start < before]
    planned = (one for one in meter.planned if one.window.start < before)
    found += [(one.window, change_of(meter, one, now)) for one in planned]
    ignored = meter.reserved.get(ignore) if ignore is not None else None
    if ignored is not None:
        found.append((ignored.window, partial(Level.leave_out, reserved=ignored)))
    changes: list[tuple[int, int, Change]] = []
    for window, change in found:
        if window.overlaps(within):
            changes.append((max(window.start, within.start), 1, change))
            changes.append((window.end, -1, change))
    changes.sort(key=lambda change: change[:2])  # at one instant ends come before starts
    return changes


def change_of(meter: Ahead, planned: Planned, now: int) -> Change:
    """What happens to a level with another limit. Others give way to a cut that leaves them the time to."""
    limit_w = planned.limit_w
    yields = limit_w < meter.limit_w and planned.window.start >= now + meter.yields_s
    packing_w = meter.usable_w - usable_w(limit_w, meter.margin)
    return partial(Level.cut if yields else Level.carry_less, packing_w=packing_w, top_w=meter.limit_w - limit_w)
