"""Records of `ports` as rows of the tables, and back."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import RowMapping

from slurm_power.adapters.store.schema import to_json
from slurm_power.ports import Decision, HoldKind, Intent, StoredJob, StoredProfile, StoredReservation


def job_row(job: StoredJob) -> dict[str, Any]:
    """A job as it is stored."""
    return {
        "token": job.token,
        "job_id": job.job_id,
        "uid": job.uid,
        "account": job.account,
        "tier": job.tier,
        "est_w": job.est_w,
        "max_w": job.max_w,
        "headroom_w": job.headroom_w,
        "correlation_group": job.group,
        "submitted_at": job.submitted_at,
        "hold": None if job.hold is None else job.hold.value,
        "detail": job.detail,
    }


def to_job(row: RowMapping) -> StoredJob:
    """A job out of its row."""
    return StoredJob(
        token=row["token"],
        job_id=row["job_id"],
        uid=row["uid"],
        account=row["account"],
        tier=row["tier"],
        est_w=row["est_w"],
        max_w=row["max_w"],
        headroom_w=row["headroom_w"],
        group=row["correlation_group"],
        submitted_at=row["submitted_at"],
        hold=None if row["hold"] is None else HoldKind(row["hold"]),
        detail=row["detail"],
    )


def decision_row(decision: Decision) -> dict[str, Any]:
    """A line of the audit log as it is stored."""
    return {
        "at": decision.at,
        "job": decision.job,
        "token": decision.token,
        "uid": decision.uid,
        "account": decision.account,
        "action": decision.action,
        "mode": decision.mode,
        "zones": list(decision.zones),
        "reasons": list(decision.reasons),
        "reservation": decision.reservation,
        "actor": decision.actor,
        "cause": decision.cause,
        "rule": decision.rule,
        "numbers": decision.numbers,
    }


def to_decision(row: RowMapping) -> Decision:
    """A line of the audit log out of its row."""
    reasons: Sequence[Mapping[str, object]] = row["reasons"]
    return Decision(
        at=row["at"],
        job=row["job"],
        token=row["token"],
        uid=row["uid"],
        account=row["account"],
        action=row["action"],
        mode=row["mode"],
        zones=tuple(row["zones"]),
        reasons=tuple(reasons),
        reservation=row["reservation"],
        actor=row["actor"],
        cause=row["cause"],
        rule=row["rule"],
        numbers=row["numbers"],
    )


def reservation_row(reservation: StoredReservation) -> dict[str, Any]:
    """A reservation as it is stored."""
    return {
        "id": reservation.id,
        "name": reservation.name,
        "live_name": reservation.name if reservation.live else None,
        "state": reservation.state,
        "start_at": reservation.start,
        "end_at": reservation.end,
        "created_at": reservation.created_at,
        "updated_at": reservation.updated_at,
        "detail": reservation.detail,
    }


def to_reservation(row: RowMapping) -> StoredReservation:
    """A reservation out of its row."""
    return StoredReservation(
        id=row["id"],
        name=row["name"],
        state=row["state"],
        live=row["live_name"] is not None,
        start=row["start_at"],
        end=row["end_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        detail=row["detail"],
    )


def profile_row(profile: StoredProfile) -> dict[str, Any]:
    """A profile as it is stored."""
    key = to_json([profile.account, profile.name, profile.partition, profile.gpus])
    return {
        "id": sha256(key.encode()).hexdigest(),
        "account": profile.account,
        "name": profile.name,
        "partition_name": profile.partition,
        "gpus": profile.gpus,
        "seen_at": profile.seen_at,
        "detail": profile.detail,
    }


def to_profile(row: RowMapping) -> StoredProfile:
    """A profile out of its row."""
    return StoredProfile(
        row["account"], row["name"], row["partition_name"], row["gpus"], row["seen_at"], row["detail"]
    )


def intent_row(intent: Intent) -> dict[str, Any]:
    """An intent as it is stored; open."""
    return {
        "target": intent.target,
        "action": intent.action,
        "at": intent.at,
        "detail": intent.detail,
        "pending": True,
    }
