"""What `sreservation` asks for, read at the edge: every field checked, every error with what to write instead."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slurm_power.config import Site
from slurm_power.core.binding import PREFIX
from slurm_power.core.errors import UsageError
from slurm_power.core.policy import Tier
from slurm_power.core.reservation import Owner, Reservation, Terms, WhenShort
from slurm_power.core.units import MAX_WATTS, format_watts
from slurm_power.core.window import FOREVER, Window

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
_LATE_S = 60
"""How long ago a window may begin that is to begin now: the question was on its way."""
_YEAR_S = 366 * 86_400
"""How far ahead a window may begin, and how long it may last."""
_OPTIONS = {
    "zones": "--zones",
    "watts_w": "--watts",
    "min_w": "--min-watts",
    "start": "--start",
    "end": "--end",
    "length_s": "--duration",
    "accounts": "--accounts",
    "users": "--users",
    "nodes": "--nodes",
    "gpus": "--gpus",
    "grace_s": "--grace",
    "burst_w": "--burst",
    "burst_s": "--burst",
}
"""What the user wrote, where a field cannot be."""


class _Asked(BaseModel):
    """The fields as they come over the socket; None where the owner leaves it to the site."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    zones: list[str] = Field(min_length=1, max_length=256)
    """No more: to look into each over the whole window takes about 0.1 ms, and the hook waits meanwhile."""
    any_zone: bool = False
    watts_w: int = Field(ge=1, le=MAX_WATTS)
    min_w: int | None = Field(default=None, ge=1)
    start: int | None = Field(default=None, ge=0, le=FOREVER)
    end: int | None = Field(default=None, ge=0, le=FOREVER)
    length_s: int | None = Field(default=None, ge=1, le=FOREVER)
    """Instead of an end."""
    accounts: list[str] = Field(default=[], max_length=64)
    users: list[str] = Field(default=[], max_length=64)
    tier: str | None = None
    policy: WhenShort | None = Field(default=None, strict=False)
    grace_s: int | None = Field(default=None, ge=0, le=_YEAR_S)
    burst_w: int = Field(default=0, ge=0, le=MAX_WATTS)
    burst_s: int = Field(default=0, ge=0, le=_YEAR_S)
    nodes: int = Field(default=0, ge=0, le=65_536)
    gpus: int = Field(default=0, ge=0, le=1_048_576)
    """Instead of nodes: as many nodes as have so many."""


def read_terms(
    given: Mapping[str, Any],
    site: Site,
    now: int,
    before: Reservation | None = None,
    node_gpus: Mapping[str, int] = MappingProxyType({}),
) -> Terms:
    """The terms of a reservation that is to be made, or those of `before` with what is given. Raises UsageError.

    `node_gpus`: zone → GPUs of each of its nodes, by which nodes are counted where GPUs are asked for.
    """
    if given.get("end") is not None and given.get("length_s") is not None:
        raise UsageError("a window has an end or a length; write --end or --duration, not both")
    if before is not None:
        asked_anew = {"end": None} if "length_s" in given else {}
        given = {**fields_of(before.terms), **asked_anew, **({"nodes": 0} if given.get("gpus") else {}), **given}
    try:
        asked = _Asked.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field, *inner = first["loc"] or ("terms",)
        place = ".".join(map(str, (_OPTIONS.get(str(field), field), *inner)))
        raise UsageError(f"{place}: {first['msg'].lower()}") from None
    _check_names(asked, site)
    unknown = sorted(set(asked.zones) - site.topology.zones.keys())
    if unknown:
        known = ", ".join(sorted(site.topology.zones)[:8])
        raise UsageError(f"zones: there is no {unknown[0]}; there are {known}")
    tier = _tier(asked, site)
    return Terms(
        name=asked.name,
        owner=Owner(tuple(sorted(set(asked.accounts))), tuple(sorted(set(asked.users)))),
        zones=tuple(dict.fromkeys(asked.zones)),
        any_zone=asked.any_zone,
        watts_w=asked.watts_w,
        min_w=_least(asked),
        window=_window(asked, now, before),
        tier=tier.name,
        policy=_policy(asked, tier),
        grace_s=asked.grace_s if asked.grace_s is not None else site.reservations.grace,
        burst_w=asked.burst_w,
        burst_s=_burst_s(asked),
        nodes=_nodes(asked, max((node_gpus.get(zone, 0) for zone in asked.zones), default=0)),
    )


def _check_names(asked: _Asked, site: Site) -> None:
    if _NAME.fullmatch(asked.name) is None or asked.name.startswith(PREFIX):
        raise UsageError(
            f"'{asked.name}' cannot be a reservation's name: letters, digits, '_', '.' and '-', at most 48, not pw_…; "
            "write for example spring-training"
        )
    zone = next((zone for zone in site.topology.zones if asked.name.startswith(f"{zone}_")), None)
    if zone is not None:
        raise UsageError(f"'{asked.name}' begins like the name that Slurm has for what is reserved in zone {zone}")
    for what, names in (("accounts", asked.accounts), ("users", asked.users)):
        wrong = next((name for name in names if _WORD.fullmatch(name) is None), None)
        if wrong is not None:
            raise UsageError(f"{what}: '{wrong}' is not a name of Slurm's")
    if not asked.accounts and not asked.users:
        raise UsageError("a reservation belongs to somebody; write --accounts=research or --users=alice")


def _least(asked: _Asked) -> int | None:
    if asked.min_w is not None and asked.min_w > asked.watts_w:
        raise UsageError(
            f"the least that is useful, {format_watts(asked.min_w)}, is more than what is asked, "
            f"{format_watts(asked.watts_w)}; write --min-watts below --watts"
        )
    return asked.min_w


def _window(asked: _Asked, now: int, before: Reservation | None) -> Window:
    start = now if asked.start is None else asked.start
    if before is None or start != before.terms.window.start:
        start = max(start, now) if start >= now - _LATE_S else start
        if start < now:
            raise UsageError("the start is in the past; write --start=now or a time to come, such as now+2hours")
        if before is not None and before.begun(now):
            raise UsageError("it has begun already; change its --end, or make another one")
    if start - now > _YEAR_S:
        raise UsageError("a reservation begins within a year; write an earlier --start")
    end = asked.end if asked.end is not None else start + (asked.length_s or 0)
    if end <= max(start, now):
        raise UsageError("the end is not after the start; write --duration=2h, or an --end after --start")
    if end - start > _YEAR_S:
        raise UsageError("a reservation lasts a year at most; write --duration=30d and renew it")
    return Window(start, end)


def fields_of(terms: Terms) -> dict[str, Any]:
    """Terms as they were asked for."""
    return {
        "name": terms.name,
        "zones": list(terms.zones),
        "any_zone": terms.any_zone,
        "watts_w": terms.watts_w,
        "min_w": terms.min_w,
        "start": terms.window.start,
        "end": terms.window.end,
        "accounts": list(terms.owner.accounts),
        "users": list(terms.owner.users),
        "tier": terms.tier,
        "policy": str(terms.policy),
        "grace_s": terms.grace_s,
        "burst_w": terms.burst_w,
        "burst_s": terms.burst_s,
        "nodes": terms.nodes,
    }


def _burst_s(asked: _Asked) -> int:
    if bool(asked.burst_w) != bool(asked.burst_s):
        raise UsageError("a burst has watts and a length; write --burst=5kW:2m")
    return asked.burst_s


def _nodes(asked: _Asked, node_gpus: int) -> int:
    """Whole nodes, all in one zone: what binds a job to its nodes and to its watts has to be one place."""
    if not asked.nodes and not asked.gpus:
        return 0
    if asked.nodes and asked.gpus:
        raise UsageError("nodes and GPUs are two ways to say one thing; give --nodes or --gpus")
    if len(asked.zones) > 1 and not asked.any_zone:
        raise UsageError("nodes come with watts of one zone; make a reservation for each zone, or write any:HOSTLIST")
    if asked.gpus and not node_gpus:
        raise UsageError("gpus: Slurm shows no GPUs on the nodes of these zones; write --nodes")
    return asked.nodes or -(-asked.gpus // node_gpus)


def _tier(asked: _Asked, site: Site) -> Tier:
    tiers = site.policy.tiers
    name = asked.tier or site.policy.default_tier
    if name not in tiers:
        raise UsageError(f"tier: there is no {name}; this site's tiers are {', '.join(tiers)}")
    return tiers[name]


def _policy(asked: _Asked, tier: Tier) -> WhenShort:
    """A tier that is preempted at once preempts nobody."""
    if asked.policy is WhenShort.PREEMPT and tier.notice_s == 0:
        raise UsageError(f"policy: tier {tier.name} preempts nobody; write --policy=wait, or a higher --tier")
    return asked.policy or WhenShort.WAIT
