"""Rows to store."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from slurm_power.core.showback import Month, Priced, Tariff
from slurm_power.core.window import Window
from slurm_power.ports import Decision, HoldKind, Intent, StoredJob, StoredProfile, StoredReservation, Usage


def job(token: str, *, job_id: int | None = 812, est_w: int = 18_500, group: str = "alice/train") -> StoredJob:
    return StoredJob(
        token=token,
        job_id=job_id,
        uid=1_000,
        account="research",
        tier="gold",
        est_w=est_w,
        max_w=24_000,
        headroom_w=0,
        group=group,
        submitted_at=1_800_000_000,
        hold=HoldKind.POWER,
        detail={"comment": "power:est=18.5kW", "nodes": [1, 2], "deep": {"none": None, "yes": True, "share": 0.5}},
    )


def line(at: int, job_id: str = "812", action: str = "admit") -> Decision:
    return Decision(
        at=at,
        job=job_id,
        token="Zk3",
        uid=1_000,
        account="research",
        action=action,
        mode="enforce",
        zones=("rack01", "rack02"),
        reasons=({"code": "ZONE_FULL", "subject": "rack07", "short_w": 1_500},),
    )


def intent(target: str, action: str = "release") -> Intent:
    return Intent(target=target, action=action, at=1_800_000_000, detail={"licenses": "rack01_w:18500"})


def reserved(
    id: str,
    name: str,
    *,
    state: str = "approved",
    live: bool = True,
    start: int = 1_800_000_000,
    detail: Mapping[str, object] | None = None,
) -> StoredReservation:
    return StoredReservation(id, name, state, live, start, 1_900_000_000, 1_700_000_000, 1_700_000_001, detail or {})


def used(
    hour: int,
    *,
    reservation: str = "",
    tier: str = "gold",
    reserved_ws: int = 0,
    used_ws: int = 0,
    jobs_ws: int = 0,
) -> Usage:
    return Usage(reservation, "research", 1_000, tier, hour, reserved_ws, used_ws, jobs_ws)


def learnt(seen_at: int, name: str = "train", *, gpus: int = 8, runs: int = 3) -> StoredProfile:
    detail = {"runs": runs, "sketch": {"counts": {"900": 60}, "peak_w": 9_000}}
    return StoredProfile("research", name, "main", gpus, seen_at, detail)


MONTH = Month(
    "2026-04",
    Window(1_000, 2_000),
    (
        Tariff(0, "EUR", Fraction(21, 100), Fraction(1, 20), {"gold": Fraction(3, 2)}, Fraction(1, 2)),
        Tariff(1_500, "EUR", Fraction(1, 3)),
    ),
    (
        Priced(replace(used(1_000, reserved_ws=1 << 60), runs=3, missed=1), "EUR", Fraction(1, 3)),
        Priced(used(1_000, tier="bronze", jobs_ws=7)),
    ),
)
