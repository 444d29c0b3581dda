"""What a job declares beside what runs like it have drawn, in one sentence."""

from slurm_power.core.profile import Learnt, ProfileKey
from slurm_power.core.units import format_watts

_TOO_MUCH_MILLI, _TOO_LITTLE_MILLI = 1_500, 900


def beside_profile(learnt: Learnt | None, nodes: int, est_w: int, whose: str, *, whole: bool) -> str:
    """A remark on a declared est; empty where it is about right, or too little is known.

    Too much is more than 1.5 × what the profile would ask for, its margin for few samples included; too little is less
    than 0.9 × the percentile as measured, for nobody has to declare such a margin. That is not said of a job that takes
    a part of its nodes (not `whole`): what an idle node draws was measured too.
    """
    if learnt is None or learnt.est_w is None:
        return ""
    p95_w, peak_w = learnt.p95_w * nodes, learnt.peak_w * nodes
    if est_w * 1_000 > learnt.est_w * nodes * _TOO_MUCH_MILLI:
        verdict = "keeps more than that from others"
    elif whole and est_w * 1_000 < p95_w * _TOO_LITTLE_MILLI:
        verdict = "promises less than that"
    else:
        return ""
    runs = f"last {learnt.runs} runs" if learnt.runs > 1 else "run so far"
    drew = f"{whose} {runs} drew {format_watts(p95_w)} at the 95th percentile and {format_watts(peak_w)} at most"
    return f"{drew}; est={format_watts(est_w)} {verdict}"


def unknown_profile(alike: ProfileKey) -> str:
    """What `profile=` meets that names one of which too little is known."""
    gpus = f"with {alike.gpus} GPUs a node" if alike.gpus else "without GPUs"
    return (
        f"profile={alike.name}: too little is known of jobs of that name in account {alike.account}, "
        f"{gpus}, in partition {alike.partition}"
    )
