"""From what a job says to a request for watts: envelope, tier, class, shape, zones. Decides nothing about room."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

from slurm_power.core.admission import Reject
from slurm_power.core.binding import (
    PREFIX,
    asks_for_ours,
    bind_features,
    feature_asks_for_ours,
    foreign_licences,
    reservation_of_nodes,
    strip_ours,
    tres_asks_for_ours,
)
from slurm_power.core.claim import WHOLE_NODE, Charge
from slurm_power.core.envelope import Envelope, Per, parse_comment, resolve
from slurm_power.core.errors import EnvelopeError
from slurm_power.core.estimate import EstFrom, default_est_w, default_from
from slurm_power.core.immutable import immutable
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.policy import Hours, Tier, WorkClass
from slurm_power.core.profile import Learnt, ProfileKey
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.request import Request
from slurm_power.core.units import ceil_share, format_duration, format_watts
from slurm_power.service.facts import JobFacts
from slurm_power.service.remarks import beside_profile, unknown_profile
from slurm_power.service.usable import usable
from slurm_power.service.world import Partition, World, expand

_NO_CLASS = WorkClass("")
_NOTHING = ProfileKey("", "", "", 0)
_TWO_ZONES = (Charge("a", 1, 0, 0), Charge("b", 1, 0, 0))


@immutable
class Ask:
    """A job's request, and what else admission and binding need to know of it."""

    request: Request
    facts: JobFacts
    submitted: int
    qos: str = ""
    """The QOS to ask Slurm for; empty: leave it as it is."""
    deadline: int | None = None
    max_delay_s: int | None = None
    hours: Hours | None = None
    """When its class may start."""
    scales: bool = False
    """Whether its watts grow with its nodes, so that more nodes than asked mean more watts."""
    licenses: str = ""
    """The user's own licences."""
    features: str = ""
    """The user's own constraint."""
    pinned: bool = False
    """Whether its required nodes lie in several zones and are all that it gets: nothing else could bind it."""
    waits: Reason | None = None
    """Why it may not claim watts yet: a dependency, a user's hold, components or class hours."""
    est_from: EstFrom | None = None
    """Where its est comes from; None where that is not known any more."""
    alike: ProfileKey = _NOTHING
    """The profile that it goes by, or is put beside."""
    learnt: Learnt | None = None
    """What that said."""
    whole: bool = True
    """Whether it takes its nodes whole."""


@immutable
class Free:
    """None of the job's nodes lies in a zone: nothing to count."""


class _Refused(Exception):
    def __init__(self, code: Code, detail: str = "", **numbers: int | str) -> None:
        self.reason = Reason(code, detail=detail, **numbers)  # type: ignore[arg-type]


def interpret(
    facts: JobFacts,
    world: World,
    token: str,
    now: int,
    submitted: int | None = None,
    learnt: Mapping[ProfileKey, Learnt] | None = None,
) -> Ask | Free | Reject:
    """What the job asks for; `Free` if power is none of its business; `Reject` if it can never be right.

    `learnt` is what profiles say, for who may not know of all of them; else the world's.
    """
    try:
        known = world.learnt if learnt is None else learnt
        return _interpret(facts, world, known, token, now, now if submitted is None else submitted)
    except EnvelopeError as error:
        return Reject((Reason(Code.ENVELOPE, detail=str(error)),))
    except _Refused as refused:
        return Reject((refused.reason,))


def _interpret(
    facts: JobFacts, world: World, profiles: Mapping[ProfileKey, Learnt], token: str, now: int, submitted: int
) -> Ask | Free:
    envelope = parse_comment(facts.comment, submitted, world.site.timezone) or Envelope()
    partitions = _partitions(facts, world)
    named = expand(facts.required_nodes) if facts.required_nodes else ()
    zones = _zones(facts, envelope, partitions, world, named)
    if zones is not None and not zones:
        return Free()
    work_class = _class(envelope, world)
    tier, qos = _tier(facts, envelope, work_class, world)
    ask, zones, pinned = _shaped(facts, partitions, zones, named, world)
    alike = ProfileKey(facts.account, envelope.profile or facts.name, partitions[0].record.name, ask.gpus)
    learnt = profiles.get(alike)
    est_w, max_w, headroom_w, est_from = _watts(facts, envelope, work_class, partitions[0], ask, world, learnt)
    opens = opening(work_class.hours, now, world.site.timezone)
    request = Request(
        id=token,
        tier=tier,
        est_w=est_w * ask.copies,
        max_w=max_w * ask.copies,
        headroom_w=headroom_w,
        group=f"{facts.uid}/{facts.name}",
        pool=partitions[0].record.name if len(partitions) == 1 else "",
        ask=ask,
        time_limit_s=_time_limit(facts, partitions),
        zones=zones,
        uid=facts.uid,
        account=facts.account,
        not_before=max(facts.begin, opens),
        reservation=_reservation(facts, envelope),
    )
    request = replace(request, through_cuts_s=_through_cuts_s(request, facts, qos, world))
    return Ask(
        request=request,
        facts=facts,
        submitted=submitted,
        qos=qos,
        deadline=envelope.deadline,
        max_delay_s=work_class.max_delay_s,
        hours=work_class.hours,
        scales=_scales(envelope, facts),
        licenses=foreign_licences(facts.licenses),
        features=strip_ours(facts.features),
        pinned=pinned,
        waits=_waits(facts, work_class, opens, now),
        est_from=est_from,
        alike=alike,
        learnt=learnt,
        whole=_share_milli(partitions[0], ask) == WHOLE_NODE,
    )


def _shaped(
    facts: JobFacts, partitions: list[Partition], zones: frozenset[str] | None, named: Sequence[str], world: World
) -> tuple[NodeAsk, frozenset[str] | None, bool]:
    """What it asks of nodes, the zones that have them, and whether its required nodes alone bind it to zones."""
    node_gpus = max(p.node_gpus for p in partitions)
    ask = facts.shape(max(p.node_cpus for p in partitions), node_gpus, max(p.node_memory_mb for p in partitions))
    required = world.zones_of(named)
    if required:
        _check_required(ask, named, required, zones, world)
    if len(required) > 1:
        return replace(ask, most=tuple(sorted(required.items()))), zones, True
    if ask.nodes > 1:
        by_gpus = facts.tres != "" and facts.gpus > node_gpus
        ask = replace(ask, together=by_gpus or (facts.features != "" and keeps_together(strip_ours(facts.features))))
    most = usable(facts, ask, partitions, zones, world)
    if most:
        zones = _with_nodes(ask, most, partitions, zones)
        ask = replace(ask, most=tuple(pair for pair in most.items() if zones is None or pair[0] in zones))
    return ask, zones, False


def _check_required(
    ask: NodeAsk, named: Sequence[str], required: Mapping[str, int], zones: frozenset[str] | None, world: World
) -> None:
    """Refuse required nodes that no binding can go with: what binds a job to zones would keep others out."""
    zone = next(iter(required))
    if sum(required.values()) < len(named):
        raise _Refused(Code.NO_ZONE, "--nodelist names nodes inside and outside the zones; submit a job for each")
    if zones is not None and not zones.issuperset(required):
        raise _Refused(Code.NO_ZONE, "--nodelist names nodes in zones that its partition or zones= leaves out")
    if ask.nodes > len(named) and (len(required) > 1 or ask.nodes > world.sizes[zone]):
        raise _Refused(
            Code.NO_ZONE,
            f"--nodelist names {len(named)} of its {ask.nodes} nodes, which have to go over several zones; "
            "name all of them, such as -N2 -w a01,b01, or leave --nodelist out",
        )


def _with_nodes(
    ask: NodeAsk, most: Mapping[str, int], partitions: Sequence[Partition], zones: frozenset[str] | None
) -> frozenset[str] | None:
    """The zones with enough nodes that would do: of a job that may go over several zones, with one."""
    least = 1 if ask.spreads else ask.nodes
    allowed = partitions[0].zones if zones is None else zones
    lacking = allowed.intersection([zone for zone, count in most.items() if count < least])
    if not lacking:
        return zones
    left = allowed - lacking
    if not left:
        raise _Refused(
            Code.NO_ZONE,
            "its partition, memory, type of GPUs, --constraint and --exclude leave none with enough nodes",
        )
    return left


def keeps_together(constraint: str) -> bool:
    """Whether Slurm has no way to say this constraint and several zones in one."""
    return bind_features(constraint, _TWO_ZONES) is None


def _scales(envelope: Envelope, facts: JobFacts) -> bool:
    """Whether more nodes would draw more watts; GPUs asked for by the node grow with the nodes too."""
    pers = [quantity.per for quantity in (envelope.est, envelope.max) if quantity is not None]
    by_gpu = Per.GPU in pers and (facts.gpus_per_node > 0 or not facts.tres)  # Slurm's record does not tell which
    return envelope.est is None or Per.NODE in pers or by_gpu


def forbidden(facts: JobFacts) -> Reason | None:
    """What a user may not ask for himself: our licences and features, another job's allocation."""
    if asks_for_ours(facts.licenses) or tres_asks_for_ours(facts.tres):
        return Reason(Code.FORBIDDEN, detail="licences pw_… are given by slurm_power; leave them out")
    if feature_asks_for_ours(facts.features) or feature_asks_for_ours(facts.prefer):
        return Reason(Code.FORBIDDEN, detail="features pw_… are set by slurm_power; write power:zones=NAME")
    if "expand:" in facts.dependency.lower():
        return Reason(Code.FORBIDDEN, detail="dependency=expand would grow a job past its watts; submit a larger job")
    return None


def _partitions(facts: JobFacts, world: World) -> list[Partition]:
    names = facts.partitions or (world.default_partition,)
    found = [world.partitions[name] for name in names if name in world.partitions]
    if not found:
        raise _Refused(Code.NO_PARTITION, ",".join(names) or "(none is the default)")
    return found


def _zones(
    facts: JobFacts, envelope: Envelope, partitions: list[Partition], world: World, named: Sequence[str]
) -> frozenset[str] | None:
    """The zones that the job may go to; None: all of its partition's; empty: it runs outside all zones."""
    everything = partitions[0].zones
    if len(partitions) > 1:
        everything = everything.union(*(partition.zones for partition in partitions[1:]))
    allowed = everything
    if facts.required_nodes:
        counts = world.zones_of(named)
        if named and not counts:
            if len(named) < max(facts.nodes or 1, facts.max_nodes or 1):
                raise _Refused(Code.NO_ZONE, "--nodelist names fewer nodes than the job takes, all outside the zones")
            return frozenset()
        allowed &= frozenset(counts)
    if not everything:
        return frozenset()
    if envelope.zones is not None:
        wanted = frozenset(expand(envelope.zones))
        unknown = sorted(wanted - world.site.topology.zones.keys())
        if unknown or not wanted:
            known = ", ".join(sorted(everything)[:8])
            missing = unknown[0] if unknown else envelope.zones
            raise _Refused(Code.NO_ZONE, f"zones={envelope.zones}: there is no {missing}; there are {known}")
        allowed &= wanted
    constraint = strip_ours(facts.features)
    if constraint:
        allowed &= world.zones_with(constraint).zones
    if not allowed:
        raise _Refused(Code.NO_ZONE, "its partition, zones=, --nodelist and --constraint leave none")
    return None if allowed is everything and len(partitions) == 1 else allowed


def _reservation(facts: JobFacts, envelope: Envelope) -> str:
    """The reservation of power that it names, in its comment or as Slurm's own of ours."""
    named = facts.reservation if facts.reservation.startswith(PREFIX) else ""
    asked = envelope.reservation or ""
    if named and asked and named not in (asked, reservation_of_nodes(asked)):
        raise _Refused(
            Code.RESERVATION,
            f"the comment says reservation={asked}, and --reservation={named}; leave one of them out",
            subject=asked,
        )
    return asked or named


def _class(envelope: Envelope, world: World) -> WorkClass:
    if envelope.job_class is None:
        return _NO_CLASS
    classes = world.site.policy.classes
    if envelope.job_class not in classes:
        known = ", ".join(sorted(classes)) or "none"
        raise _Refused(Code.ENVELOPE, f"class={envelope.job_class}: this site's classes are {known}")
    return classes[envelope.job_class]


def _tier(facts: JobFacts, envelope: Envelope, work_class: WorkClass, world: World) -> tuple[Tier, str]:
    """The tier, and the QOS to ask for: an explicit QOS, else tier=, else the class's, else the default."""
    policy = world.site.policy
    by_qos = {tier.qos: tier for tier in policy.tiers.values()}
    fallback = policy.tiers[policy.default_tier]
    asked = envelope.tier
    if asked is not None and asked not in policy.tiers:
        raise _Refused(Code.TIER, f"tier={asked}: this site's tiers are {', '.join(policy.tiers)}")
    if facts.qos:
        tier = by_qos.get(facts.qos, fallback)
        if asked is not None and asked != tier.name:
            raise _Refused(
                Code.TIER,
                f"--qos={facts.qos} stands for tier {tier.name}, but the comment says tier={asked}; "
                f"leave one out, or write --qos={policy.tiers[asked].qos}",
            )
        qos = ""
    elif asked is not None or work_class.tier is not None:
        tier = policy.tiers[asked or work_class.tier or policy.default_tier]
        qos = tier.qos
    else:
        tier, qos = by_qos.get(facts.default_qos, fallback), ""
    _check_promise(envelope, tier)
    return tier, qos


def _check_promise(envelope: Envelope, tier: Tier) -> None:
    """The comment may not promise itself more than the tier does."""
    if tier.notice_s is None:
        return
    if envelope.preemptible is False:
        raise _Refused(Code.TIER, f"preemptible=no, but tier {tier.name} may be preempted; ask for a tier that is not")
    if envelope.notice_s is not None and envelope.notice_s > tier.notice_s:
        raise _Refused(
            Code.TIER,
            f"notice={format_duration(envelope.notice_s)} is more than tier {tier.name} gives, "
            f"{format_duration(tier.notice_s)}",
        )


def _watts(
    facts: JobFacts,
    envelope: Envelope,
    work_class: WorkClass,
    partition: Partition,
    ask: NodeAsk,
    world: World,
    learnt: Learnt | None,
) -> tuple[int, int, int, EstFrom]:
    """est, max and headroom of one copy, in W, and where est comes from."""
    factor = work_class.max_factor_milli or world.site.policy.max_factor_milli
    estimate = work_class.est_w or _estimate(partition, ask)
    resolved = resolve(envelope, ask.nodes, ask.gpus * ask.nodes, factor, estimate)
    est_w, max_w = resolved.est_w, resolved.max_w
    est_from = EstFrom.CLASS if work_class.est_w else default_from(partition.policy, ask)
    if envelope.est is not None or envelope.max is not None:
        est_from = EstFrom.DECLARED
    elif not work_class.est_w and learnt is not None:
        whole = _share_milli(partition, ask) == WHOLE_NODE
        by_profile = learnt.asked_w(ask.nodes, est_w, max_w, whole=whole)
        if by_profile is not None:
            found = _as_admitted(facts, ask.nodes) or by_profile
            est_from = EstFrom.PROFILE if found != (est_w, max_w) else est_from
            est_w, max_w = found
    cap_w = work_class.max_w
    if cap_w is not None and max_w > cap_w:
        if envelope.max is not None or est_w > cap_w:
            raise _Refused(
                Code.CLASS_LIMIT, subject=work_class.name, asked_w=max(est_w, max_w), free_w=cap_w,
            )
        max_w = cap_w
    headroom_w = resolved.headroom_w if resolved.headroom_w is not None else work_class.headroom_w or 0
    return est_w, max_w, headroom_w, est_from


def _as_admitted(facts: JobFacts, nodes: int) -> tuple[int, int] | None:
    """est and max of a job that was admitted: they stay as its licences say, whatever its profile says by now."""
    charged = sum(charge.nodes for charge in facts.charges)
    if not charged:
        return None
    est_w, max_w = sum(one.est_w for one in facts.charges), sum(one.max_w for one in facts.charges)
    return ceil_share(est_w, nodes, charged), ceil_share(max_w, nodes, charged)


def _estimate(partition: Partition, ask: NodeAsk) -> int:
    return default_est_w(partition.policy, ask, _share_milli(partition, ask), partition.zone_node_w)


def _share_milli(partition: Partition, ask: NodeAsk) -> int:
    """The thousandths of a node that each node of the job takes, at least 1."""
    cpus, gpus = max(partition.node_cpus, 1), partition.node_gpus
    share = max(-(-ask.cpus * WHOLE_NODE // cpus), -(-ask.gpus * WHOLE_NODE // gpus) if gpus else 0)
    return WHOLE_NODE if ask.exclusive else min(max(share, 1), WHOLE_NODE)


def _time_limit(facts: JobFacts, partitions: list[Partition]) -> int | None:
    if facts.time_limit_s is not None:
        return facts.time_limit_s
    limits = [partition.record.max_time_s if facts.unlimited else partition.limit_s for partition in partitions]
    known = [limit for limit in limits if limit is not None]
    return max(known) if len(known) == len(limits) else None


def opening(hours: Hours | None, now: int, zone: tzinfo) -> int:
    """When the class may start next, in the site's local time; 0 if that is now."""
    if hours is None:
        return 0
    local = datetime.fromtimestamp(now, zone)
    second = local.hour * 3_600 + local.minute * 60 + local.second
    inside = hours.start_s <= second < hours.end_s
    if hours.end_s <= hours.start_s:
        inside = second >= hours.start_s or second < hours.end_s
    if inside:
        return 0
    opens = local.replace(hour=hours.start_s // 3_600, minute=hours.start_s % 3_600 // 60, second=hours.start_s % 60)
    if opens <= local:
        opens += timedelta(days=1)
    return int(opens.timestamp())


def _through_cuts_s(request: Request, facts: JobFacts, qos: str, world: World) -> int | None:
    """As the tier has it; components, and jobs that draw on a reservation, never give way."""
    if facts.het or request.reservation:
        return None
    runs_as = qos or facts.qos or facts.default_qos
    return world.through_cuts_s(request.tier.name, runs_as, batch=facts.batch, requeue=facts.requeue)


def under_law(ask: Ask, world: World) -> Ask:
    """The ask under what the site and sacctmgr say by now of jobs that a planned cut ends."""
    through_s = _through_cuts_s(ask.request, ask.facts, ask.qos, world)
    if through_s == ask.request.through_cuts_s:
        return ask
    return replace(ask, request=replace(ask.request, through_cuts_s=through_s))


def _waits(facts: JobFacts, work_class: WorkClass, opens: int, now: int) -> Reason | None:
    if facts.user_hold:
        return Reason(Code.USER_HOLD)
    if facts.dependency:
        return Reason(Code.NOT_ELIGIBLE, detail=f"dependency {facts.dependency}")
    if facts.begin > now:
        return Reason(Code.NOT_ELIGIBLE, detail="its begin time has not come")
    if opens > now and work_class.hours is not None:
        return Reason(Code.HOURS, work_class.name, detail=str(work_class.hours))
    return None


def advice(ask: Ask, now: int) -> str:
    """A remark for the user where the request is likely not what he wants; empty if there is none."""
    request = ask.request
    if ask.deadline is not None and now + (request.time_limit_s or 0) > ask.deadline:
        return "the time limit ends after the deadline, even if the job starts now"
    other, learnt = ask.alike.name != ask.facts.name, ask.learnt
    if other and (learnt is None or learnt.est_w is None):
        return unknown_profile(ask.alike)
    if ask.est_from is EstFrom.DECLARED:
        whose = f"{ask.alike.name}'s" if other else "its"
        est_w = request.est_w // request.ask.copies
        if remark := beside_profile(learnt, request.ask.nodes, est_w, whose, whole=ask.whole):
            return remark
    if request.max_w > 2 * request.est_w:
        return (
            f"max {format_watts(request.max_w)} is more than twice est {format_watts(request.est_w)}: "
            "the difference is kept free for bursts"
        )
    return ""


