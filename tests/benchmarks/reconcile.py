"""Reconciliation where there is nothing to do: all running jobs and reservations compared with what Slurm shows.

Processor time of one look, in the daemon after its start; and for how long at most nobody else is answered.
"""

import gc
import time
from collections import Counter
from multiprocessing.connection import Connection

from slurm_power.core.binding import licence_plan, our_licences
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms
from slurm_power.core.window import Window
from slurm_power.daemon.main import spare_survivors
from slurm_power.ports import JobRecord, LicenseRecord, ReservationRecord
from slurm_power.service.desk import Desk
from slurm_power.service.finding import Seen
from slurm_power.service.mirror import holdings
from slurm_power.service.observe import Observer
from slurm_power.service.reconcile import findings, in_order
from tests.benchmarks.rebuild import NODES, floor, in_process
from tests.benchmarks.statistics import spread

WATTS = 20_000
"""Of a reservation; the jobs of a zone leave 74 kW of it."""
YEAR_S, DAY_S = 364 * 86_400, 86_400


def run(quick: bool) -> dict[str, object]:
    """Each run in a process of its own."""
    jobs, runs = (2_000, 1) if quick else (100_000, 5)
    found = [in_process(_measure, jobs) for _ in range(runs)]
    return {
        "jobs": jobs,
        "reservations": jobs // 100,
        "runs": runs,
        "cpu_s": spread([one["cpu_s"] for one in found]),
        "longest_s": spread([one["longest_s"] for one in found]),
    }


def _measure(jobs: int, answer: Connection) -> None:
    desk, reader = floor(jobs)
    records = reader.read()
    Observer(desk).observe(records, time.monotonic())
    _reserve(desk, jobs // 100, jobs // NODES)
    seen = _seen(desk, records)
    gc.collect()
    spare_survivors()
    cpu = time.process_time()
    found = in_order(findings(desk, seen))
    cpu = time.process_time() - cpu
    if found or len(desk.ledger.claims) < jobs:
        raise AssertionError(f"{len(found)} findings, {len(desk.ledger.claims)} claims: {found[:3]}")
    answer.send({"cpu_s": cpu, "longest_s": _longest_s(desk, seen)})


def _reserve(desk: Desk, count: int, zones: int) -> None:
    """So many reservations, each of another tenant and in another zone; every other one is still to come."""
    now = desk.now()
    for number in range(count):
        zone, later = f"rack{number * zones // count:05d}", number % 2
        window = Window(now + later * DAY_S, now + (later + 1) * DAY_S)
        terms = Terms(f"r{number}", Owner(accounts=(f"account{number}",)), (zone,), WATTS, window, tier="bronze")
        state = ReservationState.APPROVED if later else ReservationState.ACTIVE
        grants = (Grant(zone, WATTS),)
        desk.reserved.put(Reservation(f"k{number}", terms, state, now, now, 0, grants=grants))


def _seen(desk: Desk, records: list[JobRecord]) -> Seen:
    """What Slurm shows once it has all that it should: its reservations, and its count of licences."""
    now = desk.ledger.now
    shown = [
        ReservationRecord(
            one.name, now, now + YEAR_S, True, one.owner.users, one.owner.accounts, licenses=one.licenses
        )
        for one in holdings(desk)
    ]
    used, reserved = Counter[str](), Counter[str]()
    for record in records:
        used.update(our_licences(record.licenses))
    for one in shown:
        reserved.update(one.licenses)
    counts = licence_plan(desk.site.topology).counts
    licenses = [LicenseRecord(name, total, used[name], reserved[name]) for name, total in counts.items()]
    holds = {key: entry.hold for key, entry in desk.book.entries.items()}
    return Seen(shown, licenses, qos=frozenset({"bronze"}), holds=holds)


def _longest_s(desk: Desk, seen: Seen) -> float:
    """The longest time between two turns of others, on the clock."""
    longest, last = 0.0, time.perf_counter()
    for _ in findings(desk, seen):
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return max(longest, time.perf_counter() - last)
