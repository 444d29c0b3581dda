"""How an admission is told to Slurm: watts as licences, zones as node features, both named `pw_<element>`.

Names of zones and feeds are made of letters, digits and `_.-` (the site file sees to that); Slurm takes all of these
in licences and features and tells upper from lower case, so a name needs no escaping and no two elements share one.

Slurm reads a feature expression strictly from left to right. What stands beside a bracket with counts binds nothing:
`pw_a&[x*1&y*1]` may start on a node outside `pw_a`. So a zone goes *into* each counted term: `[(x&pw_a)*1&(y&pw_a)*1]`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from slurm_power.core.claim import Charge
from slurm_power.core.immutable import immutable
from slurm_power.core.topology import Tap, Topology
from slurm_power.core.units import MAX_WATTS

PREFIX = "pw_"
MAX_REQUEST = 1_024
"""The longest licence request that Slurm 22.05 takes, in characters."""

_LICENCE = re.compile(r"[^,;|()]*(?:\([^()]*\))?[^,;|]*")
_TRES_LICENCE = re.compile(r"(?:^|[,;])\s*licenses?[/:]([^=:,;]*)", re.IGNORECASE)

_NAME = r"[^&|,*()\[\]\s]+"
_OURS = rf"{PREFIX}[A-Za-z0-9_.-]+"
_CHAIN = rf"{_NAME}(?:[&|]{_NAME})*"
_ATOM = rf"(?:{_NAME}|\({_CHAIN}\))"
_TERM = rf"(?:{_NAME}|\({_NAME}(?:&{_NAME})+\))\*[1-9]\d*"

_PLAIN = re.compile(_CHAIN)
_GROUPED = re.compile(rf"{_ATOM}(?:[&|]{_ATOM})*")
_MATCHING = re.compile(rf"(?:{_NAME}&)*\[{_NAME}(?:\|{_NAME})*\](?:&{_NAME})*")
_COUNTING = re.compile(rf"(?P<head>(?:{_NAME}&)*)\[(?P<terms>{_TERM}(?:&{_TERM})*)\]")
_ONE_GROUP = re.compile(r"\(([^()]*)\)")
_ONE_TERM = re.compile(rf"(?P<what>{_NAME}|\([^)]*\))\*(?P<count>\d+)")
_BOUND = rf"\([^()]+&{_OURS}\)\*\d+"
_BOUND_TERMS = re.compile(rf"(?P<head>(?:{_NAME}&)*)\[(?P<terms>{_BOUND}(?:&{_BOUND})*)\]")
_BOUND_TERM = re.compile(rf"\((?P<user>[^()]+)&(?P<ours>{_OURS})\)\*(?P<count>\d+)")
_ONLY_OURS = re.compile(rf"{_OURS}|\[{_OURS}\*\d+(?:&{_OURS}\*\d+)*\]")
_OURS_LAST = re.compile(rf"(?P<user>.+)&{_OURS}")
_OURS_FIRST = re.compile(rf"{_OURS}&(?P<user>.+)")


def reservation_of_nodes(name: str) -> str:
    """Slurm's own reservation of the nodes that come with a reservation of power."""
    return PREFIX + name


def licence_of(element: str) -> str:
    """The licence that counts the watts of a zone or feed."""
    return PREFIX + element


def feature_of(zone: str) -> str:
    """The node feature that stands for a zone."""
    return PREFIX + zone


# -- licences ---------------------------------------------------------------------------------------------------


@immutable
class Licence:
    """One licence as slurm.conf has to have it: `count` watts of the zone or feed `element`."""

    name: str
    element: str
    count: int


@immutable
class LicensePlan:
    """All licences of a site, and for each zone those of its feeds, with the share that they are charged."""

    licences: tuple[Licence, ...]
    taps: Mapping[str, tuple[Tap, ...]]

    @property
    def counts(self) -> dict[str, int]:
        """Licence name → total."""
        return {licence.name: licence.count for licence in self.licences}


@lru_cache(maxsize=2)  # of 10,000 zones it takes a tenth of a second, and is asked for once a minute
def licence_plan(topology: Topology) -> LicensePlan:
    """One licence a zone, usable − baseline; one for a feed only where the zones below can together pass its usable."""
    licences = [
        Licence(licence_of(zone.name), zone.name, max(zone.usable_w - zone.baseline_w, 0))
        for zone in topology.zones.values()
    ]
    together_w = topology.on_feeds_w(lambda zone: zone.usable_w)
    for feed in topology.feeds.values():
        if together_w[feed.name] > feed.usable_w:
            count = max(feed.usable_w - topology.feed_baselines_w[feed.name], 0)
            licences.append(Licence(licence_of(feed.name), feed.name, count))
    counted = {licence.element for licence in licences}
    taps = {
        zone: tuple(tap for tap in of_zone if tap.feed in counted) for zone, of_zone in topology.taps.items()
    }
    return LicensePlan(tuple(licences), taps)


def licence_counts(charges: Iterable[Charge], plan: LicensePlan) -> dict[str, int]:
    """Licence name → watts that these charges take of it: what the ledger commits there. KeyError: unknown zone."""
    zones: dict[str, int] = {}
    feeds: dict[str, int] = {}
    for charge in charges:
        name = licence_of(charge.zone)
        zones[name] = zones.get(name, 0) + charge.est_w
        for tap in plan.taps[charge.zone]:
            name = licence_of(tap.feed)
            feeds[name] = feeds.get(name, 0) + tap.share_w(charge.est_w)
    return {**dict(sorted(zones.items())), **dict(sorted(feeds.items()))}


def licence_request(charges: Sequence[Charge], plan: LicensePlan, beside: str = "") -> str | None:
    """The job's licence request: the user's own (`beside`) and ours, `site:1,pw_rack01:18500,pw_pdu-a1:18500`.

    None where Slurm could not take it: longer than 1,024 characters, a count past what a licence can hold, or the
    user asks for one licence *or* another, which Slurm combines with nothing.
    """
    counts = licence_counts(charges, plan)
    ours = [f"{name}:{count}" for name, count in counts.items() if count]
    if max(counts.values(), default=0) > MAX_WATTS or (ours and "|" in beside):
        return None
    request = ",".join([beside, *ours] if beside else ours)
    return request if len(request) <= MAX_REQUEST else None


def foreign_licences(text: str) -> str:
    """The licences of a request that are not ours, as the user wrote them."""
    separator = "|" if "|" in text else ","
    return separator.join(part for part in _licence_parts(text) if not part.startswith(PREFIX))


def our_licences(text: str) -> dict[str, int]:
    """Licence → watts, of those of a job's licences that are ours."""
    parts = (part.partition(":") for part in _licence_parts(text) if part.startswith(PREFIX))
    return {name: int(count) if count.isascii() and count.isdigit() else 1 for name, _, count in parts}


def asks_for_ours(licences: str) -> bool:
    """Whether a licence request names a licence of ours."""
    return any(part.startswith(PREFIX) for part in _licence_parts(licences))


def tres_asks_for_ours(tres: str) -> bool:
    """Whether a TRES request (`--tres-per-task`, Slurm 24.11 and later) names a licence of ours."""
    return any(match[1].strip().startswith(PREFIX) for match in _TRES_LICENCE.finditer(tres))


def _licence_parts(text: str) -> list[str]:
    if text in ("(null)", "N/A"):
        return []
    return [part for part in (match[0].strip() for match in _LICENCE.finditer(text)) if part]


# -- features ---------------------------------------------------------------------------------------------------


def feature_asks_for_ours(constraint: str) -> bool:
    """Whether a feature expression names a feature of ours."""
    return any(name.startswith(PREFIX) for name in re.findall(_NAME, constraint))


def bind_features(user_constraint: str, charges: Sequence[Charge]) -> str | None:
    """The job's feature expression: the user's constraint, confined to the zones of the charges.

    An older binding is replaced. None where no expression of Slurm's says both; the caller then binds by excluded
    nodes, or holds with a reason.
    """
    user = strip_ours(user_constraint)
    if feature_asks_for_ours(user):
        return None
    nodes: dict[str, int] = {}
    for charge in charges:
        nodes[feature_of(charge.zone)] = nodes.get(feature_of(charge.zone), 0) + charge.nodes
    if len(nodes) == 1:
        return _in_one_zone(user, next(iter(nodes)))
    return _in_several_zones(user, nodes) if nodes else user


def strip_ours(features: str) -> str:
    """The user's own constraint in a bound expression, commas as `&` and without parentheses around the whole."""
    text = features.replace(",", "&")
    if text == "(null)" or _ONLY_OURS.fullmatch(text):
        return ""
    counted = _BOUND_TERMS.fullmatch(text)
    if counted is not None:
        return _strip_terms(counted["head"], list(_BOUND_TERM.finditer(counted["terms"])))
    bound = _OURS_LAST.fullmatch(text) or _OURS_FIRST.fullmatch(text)
    return _unwrap(bound["user"] if bound else text)


def _in_one_zone(user: str, ours: str) -> str | None:
    if not user:
        return ours
    if _GROUPED.fullmatch(user):
        # Slurm, reading from left to right, needs no parentheses here; people do
        whole = f"({user})" if "|" in user and "(" not in user else user
        return f"{whole}&{ours}"
    if _MATCHING.fullmatch(user):
        return f"{ours}&{user}"
    counted = _COUNTING.fullmatch(user)
    if counted is None:
        return None
    terms = [
        f"({term['what'].strip('()')}&{ours})*{term['count']}"
        for term in _ONE_TERM.finditer(counted["terms"])
    ]
    return f"{counted['head']}[{'&'.join(terms)}]"


def _in_several_zones(user: str, nodes: Mapping[str, int]) -> str | None:
    if not user:
        return "[" + "&".join(f"{ours}*{count}" for ours, count in nodes.items()) + "]"
    if not _PLAIN.fullmatch(user):
        return None
    return "[" + "&".join(f"({user}&{ours})*{count}" for ours, count in nodes.items()) + "]"


def _strip_terms(head: str, terms: list[re.Match[str]]) -> str:
    """The user's part of counted terms: of several zones the same in each, of one zone the terms themselves."""
    if len({term["ours"] for term in terms}) > 1:
        return terms[0]["user"]
    own = [
        (f"({term['user']})" if "&" in term["user"] else term["user"]) + f"*{term['count']}" for term in terms
    ]
    return f"{head}[{'&'.join(own)}]"


def _unwrap(text: str) -> str:
    group = _ONE_GROUP.fullmatch(text)
    return group[1] if group else text
