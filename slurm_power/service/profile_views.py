"""Profiles as `spower profiles` shows them, in the shape of docs/json."""

from slurm_power.core.profile import Learnt, ProfileKey
from slurm_power.core.window import format_instant
from slurm_power.service.rights import Rights


def may_see(account: str, rights: Rights, *, private: bool) -> bool:
    """Whether somebody may learn what jobs of that account draw: where jobs are private, of his own accounts alone."""
    return not private or rights.administers or account in rights.accounts | rights.coordinates


def profile_row(key: ProfileKey, learnt: Learnt) -> dict[str, object]:
    """One profile; watts are those of one node."""
    return {
        "account": key.account,
        "name": key.name,
        "partition": key.partition,
        "gpus": key.gpus,
        "runs": learnt.runs,
        "measured_s": learnt.measured_s,
        "p50_w": learnt.p50_w,
        "p95_w": learnt.p95_w,
        "peak_w": learnt.peak_w,
        "est_w": learnt.est_w,
        "max_w": learnt.max_w,
        "seen_at": format_instant(learnt.seen_at),
    }
