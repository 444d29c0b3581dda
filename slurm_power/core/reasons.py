"""Reasons as data: why a job waits or cannot run, by which numbers, and what would help. Text is made here, once."""

from collections.abc import Mapping
from enum import StrEnum

from slurm_power.core.immutable import immutable
from slurm_power.core.units import format_watts
from slurm_power.core.window import FOREVER, format_instant


class Code(StrEnum):
    """What stands in the way. The codes are part of the JSON interface."""

    ZONE_POWER = "zone_power"
    ZONE_BURST = "zone_burst"
    FEED_POWER = "feed_power"
    FEED_BURST = "feed_burst"
    COOLING_POWER = "cooling_power"
    COOLING_BURST = "cooling_burst"
    HEADROOM = "headroom"
    NODES = "nodes"
    CLOSED = "closed"
    QUEUE = "queue"
    DERATE = "derate"
    STRAY = "stray"
    BLIND = "blind"
    HOURS = "hours"
    NOT_ELIGIBLE = "not_eligible"
    USER_HOLD = "user_hold"
    ADMIN_HOLD = "admin_hold"
    NO_ZONE = "no_zone"
    NO_PARTITION = "no_partition"
    RUMOURS = "rumours"
    BINDING = "binding"
    ENVELOPE = "envelope"
    TIER = "tier"
    CLASS_LIMIT = "class_limit"
    FORBIDDEN = "forbidden"
    RESERVATION = "reservation"
    RESERVED_POWER = "reserved_power"
    SHARE = "share"
    HET = "het"
    ARRAY = "array"
    UNREACHABLE = "unreachable"
    GATE = "gate"
    STARTING = "starting"
    PREEMPTED = "preempted"
    LARGE = "large"
    OVER = "over"
    HELD = "hold"


SHORT = frozenset({
    Code.ZONE_POWER, Code.ZONE_BURST, Code.FEED_POWER, Code.FEED_BURST, Code.COOLING_POWER, Code.COOLING_BURST,
    Code.HEADROOM, Code.NODES, Code.CLOSED, Code.QUEUE, Code.DERATE, Code.STRAY, Code.BLIND, Code.RESERVATION,
    Code.LARGE,
})  # fmt: skip
"""Reasons that pass by themselves, as others end: watts or nodes are lacking."""

_TEXT: Mapping[Code, str] = {
    Code.ZONE_POWER: "zone {subject} is short of power: asked {asked}, free {free}, short by {short}",
    Code.ZONE_BURST: "zone {subject} could not carry the bursts: asked {asked} at most, free {free}, short by {short}",
    Code.FEED_POWER: "feed {subject} is short of power: asked {asked}, free {free}, short by {short}",
    Code.FEED_BURST: "feed {subject} could not carry the bursts: asked {asked} at most, free {free}, short by {short}",
    Code.COOLING_POWER: "cooling loop {subject} is short of capacity: asked {asked}, free {free}, short by {short}",
    Code.COOLING_BURST: "cooling loop {subject} could not carry the bursts: asked {asked} at most, free {free}, "
    "short by {short}",
    Code.HEADROOM: "zone {subject} has less headroom than the job's floor: asked {asked}, free {free}, "
    "short by {short}",
    Code.NODES: "zone {subject} has the watts, but not enough free nodes: {detail}",
    Code.CLOSED: "zone {subject} admits nothing now: {detail}",
    Code.QUEUE: "zone {subject} is kept for a job that waits longer: {detail}",
    Code.DERATE: "{subject} may carry less then ({detail}): asked {asked}, free {free}, short by {short}",
    Code.STRAY: "{subject} draws {detail} more than its jobs asked for: asked {asked}, free {free}, short by {short}",
    Code.BLIND: "the sensors of {subject} are silent, so max counts: asked {asked}, free {free}, short by {short}",
    Code.HOURS: "class {subject} may start only during {detail}",
    Code.NOT_ELIGIBLE: "the job is not eligible yet ({detail}); watts are claimed once it is",
    Code.USER_HOLD: "the job is held by its user",
    Code.ADMIN_HOLD: "an administrator holds it; it is looked at again once he releases it",
    Code.NO_ZONE: "no zone matches what the job asks for: {detail}",
    Code.NO_PARTITION: "slurm_power has not seen partition {detail} yet; it looks for it now",
    Code.RUMOURS: (
        "user {subject} has {free} left for submissions that Slurm has not shown, now or within ten minutes; "
        "this one asks {asked}"
    ),
    Code.BINDING: "the job cannot be bound to its zone: {detail}",
    Code.ENVELOPE: "{detail}",
    Code.TIER: "{detail}",
    Code.CLASS_LIMIT: "class {subject} allows at most {free} a job; asked {asked}",
    Code.FORBIDDEN: "{detail}",
    Code.RESERVATION: "reservation {subject}: {detail}",
    Code.RESERVED_POWER: "reservation {subject} has no zone with so much left: asked {asked}, free {free}, "
    "short by {short}",
    Code.SHARE: "by the site's max_share its owner may reserve {free} more in zone {subject} then: asked {asked}, "
    "short by {short}",
    Code.HET: "the components of a heterogeneous job are placed together, after all of them have been seen",
    Code.ARRAY: "the array's tasks do not fit one zone together; they are placed range by range",
    Code.UNREACHABLE: "slurm_power did not answer at submission; the job is placed as soon as it does",
    Code.GATE: "the nodes that Slurm chose could not carry the job: {detail}",
    Code.PREEMPTED: "a job of tier {subject} gives way: {detail}",
    Code.LARGE: "a job of {detail} nodes is placed by the next admission pass, not while Slurm waits",
    Code.OVER: "{subject} lacks {short} for it",
    Code.HELD: "{detail}",
    Code.STARTING: "the job was placed but did not start in time: {detail}",
}


@immutable
class Reason:
    """One thing that stands in the way: its code, the zone, feed, class … it is about, and the numbers in W."""

    code: Code
    subject: str = ""
    asked_w: int | None = None
    free_w: int | None = None
    detail: str = ""

    @property
    def short_w(self) -> int | None:
        """asked − free, in W, where both are known."""
        if self.asked_w is None or self.free_w is None:
            return None
        return self.asked_w - self.free_w

    @property
    def text(self) -> str:
        """The reason for people."""
        return _TEXT[self.code].format(
            subject=self.subject,
            detail=self.detail,
            asked=_watts(self.asked_w),
            free=_watts(self.free_w),
            short=_watts(self.short_w),
        )

    def as_json(self) -> dict[str, object]:
        """The reason in the shape of `spower explain --json`."""
        return {
            "code": str(self.code),
            "subject": self.subject,
            "asked_w": self.asked_w,
            "free_w": self.free_w,
            "short_w": self.short_w,
            "text": self.text,
        }


class Cure(StrEnum):
    """What would help."""

    FEWER_WATTS = "fewer_watts"
    LATER = "later"
    OTHER_TIER = "other_tier"


@immutable
class Help:
    """One thing that would let the job run: fewer watts, a later time, another tier."""

    cure: Cure
    zone: str = ""
    watts: int | None = None
    at: int | None = None
    after_job: str = ""
    tier: str = ""

    @property
    def text(self) -> str:
        """The help for people."""
        if self.cure is Cure.FEWER_WATTS:
            return f"fits {self.zone} at {_watts(self.watts)}"
        if self.cure is Cure.OTHER_TIER:
            return f"fits {self.zone} now as {self.tier}"
        when = format_instant(self.at if self.at is not None else FOREVER)
        return f"fits {self.zone} at {when}" + (f" when job {self.after_job} ends" if self.after_job else "")

    def as_json(self) -> dict[str, object]:
        """The help in the shape of `spower explain --json`."""
        return {
            "cure": str(self.cure),
            "zone": self.zone,
            "watts_w": self.watts,
            "at": format_instant(self.at) if self.at is not None else None,
            "after_job": self.after_job,
            "tier": self.tier,
            "text": self.text,
        }


def _watts(watts: int | None) -> str:
    return "?" if watts is None else format_watts(watts)
