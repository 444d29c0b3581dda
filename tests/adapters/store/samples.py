"""Rows to store."""

from slurm_power.ports import Decision, HoldKind, Intent, StoredJob


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
