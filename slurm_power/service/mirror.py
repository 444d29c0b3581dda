"""What Slurm is to hold for the reservations: one standing reservation of licences for each zone and tenant.

Slurm does not slice reservations of licences in time, and it counts what the owner's running jobs have of them twice.
So windows stay in our calendar, and Slurm's reservation counts what is kept now and not used. It is made with nothing
in it and then updated: creating one is checked against what others have reserved, an update of its licences is not.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType

from slurm_power.config.fields import fold_hostlist
from slurm_power.core.binding import PREFIX, feature_of, reservation_of_nodes
from slurm_power.core.claim import Charge
from slurm_power.core.immutable import immutable
from slurm_power.core.reservation import KEEPING, OPEN, Owner, Reservation, ReservationState
from slurm_power.core.window import Window
from slurm_power.ports import (
    Chain,
    CreateReservation,
    DeleteReservation,
    JobState,
    LicenseRecord,
    ReservationRecord,
    Update,
    UpdateReservation,
)
from slurm_power.service.desk import Desk

_ODD = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 60
"""Of a name, without our prefix."""
_DIGEST = 8
_STANDS_S = 364 * 86_400
"""How long one stands that nobody deletes; Slurm takes a year at most."""
_NO_ZEROS = (26, 0)
"""From here on Slurm drops counts of 0, and refuses a reservation that is left without any."""


@immutable
class Holding:
    """One reservation of licences as Slurm should have it."""

    name: str
    owner: Owner
    licenses: Mapping[str, int]


@immutable
class Step:
    """What is to be done about one reservation in Slurm, and why."""

    finding: str
    name: str
    chain: Chain


@lru_cache(maxsize=16_384)  # it is asked of each reservation for each waiting job that names one of Slurm's
def name_of(zone: str, owner: Owner) -> str:
    """The name of a tenant's reservation in a zone, `pw_rack07_research`; no two tenants share one."""
    words = "+".join([*owner.accounts, *(f"u.{user}" for user in owner.users)])
    plain = f"{zone}_{_ODD.sub('-', words)}"
    if len(owner.accounts) != 1 or owner.users or "_" in words or _ODD.search(words) or len(plain) > _LONGEST:
        digest = sha256(repr((zone, owner.accounts, owner.users)).encode()).hexdigest()[:_DIGEST]
        plain = f"{plain[: _LONGEST - _DIGEST - 1]}-{digest}"
    return PREFIX + plain


def names_of(reservation: Reservation) -> list[str]:
    """The names under which Slurm holds it: of watts by zone while it is open, of nodes as long as they are kept."""
    keeps_nodes = reservation.state in KEEPING and any(grant.nodes for grant in reservation.grants)
    nodes = [reservation_of_nodes(reservation.name)] if keeps_nodes else []
    if reservation.state not in OPEN:
        return nodes
    return [*(name_of(grant.zone, reservation.terms.owner) for grant in reservation.grants), *nodes]


def holdings(desk: Desk) -> list[Holding]:
    """What Slurm should hold now, in order of name; one that is degraded stands with nothing in it."""
    owners: dict[str, Owner] = {}
    watts: dict[str, dict[str, int]] = {}
    for reservation in desk.reserved:
        if reservation.state not in OPEN:
            continue
        left_w = desk.reserved.left_w(reservation) if reservation.state is ReservationState.ACTIVE else {}
        for grant in reservation.grants:
            name = name_of(grant.zone, reservation.terms.owner)
            owners[name] = reservation.terms.owner
            counts = watts.setdefault(name, {})
            left = left_w.get(grant.zone, 0)
            for licence, count in desk.binder.counts([Charge(grant.zone, 0, left, left)]).items():
                counts[licence] = counts.get(licence, 0) + count
    return [Holding(name, owners[name], watts[name]) for name in sorted(watts) if watts[name]]


@immutable
class NodeHolding:
    """One timed reservation of nodes as Slurm should have it."""

    name: str
    owner: Owner
    window: Window
    nodes: int
    feature: str
    """What its nodes have; empty where Slurm knows no feature for their zone …"""
    hostlist: str = ""
    """… and they are named."""


def in_use(desk: Desk) -> dict[str, list[str]]:
    """Name of one of Slurm's reservations that are ours → the jobs that name it and have not ended."""
    found: dict[str, list[str]] = {}
    for entry in desk.book.entries.values():
        record = entry.record
        if record is not None and record.reservation.startswith(PREFIX) and record.state is not JobState.ENDED:
            found.setdefault(record.reservation, []).append(record.target)
    return {name: sorted(set(targets)) for name, targets in found.items()}


def node_holdings(desk: Desk) -> list[NodeHolding]:
    """The nodes that Slurm should hold, now and later, in order of name."""
    found = []
    for reservation in desk.reserved:
        grant = next((one for one in reservation.grants if one.nodes), None)
        if grant is None or reservation.state not in KEEPING:
            continue
        feature = feature_of(grant.zone) if feature_of(grant.zone) in desk.world.features() else ""
        names = [] if feature else sorted(desk.site.topology.zones[grant.zone].nodes)[: grant.nodes]
        name, terms = reservation_of_nodes(reservation.name), reservation.terms
        nodes = fold_hostlist(names) if names else ""
        found.append(NodeHolding(name, terms.owner, terms.window, grant.nodes, feature, nodes))
    return found


def node_steps(
    wanted: Sequence[NodeHolding],
    shown: Sequence[ReservationRecord],
    now: int,
    users: Mapping[str, Sequence[str]],
) -> list[Step]:
    """What brings Slurm's timed reservations of nodes to that. Others' are left alone, and so are those with watts.

    `users`: name → the jobs that name it and have not ended. Slurm deletes none with such jobs, so that they are taken
    out of it first; and none is made anew for another number of nodes while it is in use.
    """
    ours = {one.name: one for one in shown if one.name.startswith(PREFIX) and one.node_count}
    found = []
    for holding in wanted:
        step = _node_step(holding, ours.pop(holding.name, None), now, in_use=bool(users.get(holding.name)))
        if step is not None:
            found.append(step)
    for name in sorted(ours):
        out = (Update(target, {"ReservationName": ""}) for target in users.get(name, ()))
        found.append(Step("foreign", name, (*out, DeleteReservation(name))))
    return found


def _node_step(holding: NodeHolding, record: ReservationRecord | None, now: int, *, in_use: bool) -> Step | None:
    """What is to be done about one of them. Slurm makes one with fewer nodes without a word."""
    name, owner, window = holding.name, holding.owner, holding.window
    if record is None:
        return Step("missing", name, (_made(holding, now),))
    if set(record.users) != set(owner.users) or set(record.accounts) != set(owner.accounts):
        return Step("owner", name, (UpdateReservation(name, users=owner.users, accounts=owner.accounts),))
    moved = record.start != window.start and window.start > now
    if (record.node_count != holding.nodes or moved) and not in_use:
        return Step("start" if moved else "nodes", name, (DeleteReservation(name), _made(holding, now)))
    if record.end != window.end:
        return Step("end", name, (UpdateReservation(name, end=window.end),))
    return None


def _made(holding: NodeHolding, now: int) -> CreateReservation:
    start = max(holding.window.start, now)
    return CreateReservation(
        holding.name,
        start,
        holding.window.end,
        holding.owner.users,
        holding.owner.accounts,
        nodes=holding.hostlist,
        node_count=0 if holding.hostlist else holding.nodes,
        features=holding.feature,
        flags=("IGNORE_JOBS",) if start <= now else (),
    )


def steps(
    wanted: Sequence[Holding],
    shown: Sequence[ReservationRecord],
    counted: Sequence[LicenseRecord],
    now: int,
    version: tuple[int, int, int],
    *,
    fresh: bool = True,
    users: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Step]:
    """What brings Slurm to that, what is to go first, each in order of name; nothing where all is right.

    Others' reservations are left alone. `fresh` says that licences were counted when reservations were shown. `users`
    are the jobs that name a reservation: while there are any, Slurm does not delete it, and it is just emptied.
    """
    ours = {one.name: one for one in shown if one.name.startswith(PREFIX) and not one.node_count}
    forgotten = _forgotten(shown, counted) if fresh else frozenset()
    least = 0 if version[:2] < _NO_ZEROS else 1
    found = []
    for holding in _within_totals(wanted, shown, counted, least):
        step = _step(holding, ours.pop(holding.name, None), now, forgotten, least)
        if step is not None:
            found.append(step)
    gone = [_deletion(ours[name], least, used=bool(users.get(name))) for name in sorted(ours)]
    return [step for step in gone if step is not None] + found


def _within_totals(
    wanted: Sequence[Holding], shown: Sequence[ReservationRecord], counted: Sequence[LicenseRecord], least: int
) -> Iterator[Holding]:
    """Counts that stay within what Slurm has of each licence, with those of others: else it takes no more of any."""
    free = {record.name: record.total for record in counted}
    for record in shown:
        for licence, count in record.licenses.items() if not record.name.startswith(PREFIX) else ():
            free[licence] = free.get(licence, 0) - count
    for holding in wanted:
        licenses = {}
        for licence, count in holding.licenses.items():
            licenses[licence] = max(min(count, free.get(licence, count)), least)
            free[licence] = free.get(licence, count) - licenses[licence]
        yield Holding(holding.name, holding.owner, licenses)


def _deletion(record: ReservationRecord, least: int, *, used: bool) -> Step | None:
    """Slurm deletes none that jobs name, perhaps jobs that we do not see; what it keeps from others goes anyhow."""
    delete: Chain = () if used else (DeleteReservation(record.name),)
    if any(count > least for count in record.licenses.values()):
        delete = (UpdateReservation(record.name, dict.fromkeys(record.licenses, least)), *delete)
    return Step("foreign", record.name, delete) if delete else None


def _step(
    holding: Holding, record: ReservationRecord | None, now: int, forgotten: frozenset[str], least: int
) -> Step | None:
    """What is to be done about one of ours. Its licences are set with every change, for a refused one drops them."""
    name, owner, licenses = holding.name, holding.owner, holding.licenses
    if record is None:
        empty = dict.fromkeys(licenses, least)
        made = CreateReservation(name, now, now + _STANDS_S, owner.users, owner.accounts, empty)
        return Step("missing", name, (made, UpdateReservation(name, licenses)))
    if set(record.users) != set(owner.users) or set(record.accounts) != set(owner.accounts):
        return Step("owner", name, (UpdateReservation(name, licenses, owner.users, owner.accounts),))
    if _counts(record.licenses) != _counts(licenses):
        return Step("count", name, (UpdateReservation(name, licenses),))
    if not forgotten.isdisjoint(licenses):
        return Step("forgotten", name, (UpdateReservation(name, licenses),))
    if record.end - now < _STANDS_S // 2:
        return Step("ending", name, (UpdateReservation(name, licenses, end=now + _STANDS_S),))
    return None


def _counts(licenses: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in licenses.items() if count}


def _forgotten(shown: Sequence[ReservationRecord], counted: Sequence[LicenseRecord]) -> frozenset[str]:
    """Licences of which less is counted as reserved than reservations show: a refused update has dropped a count."""
    together: dict[str, int] = {}
    for record in shown:
        for name, count in record.licenses.items() if record.active else ():
            together[name] = together.get(name, 0) + count
    return frozenset(one.name for one in counted if one.reserved < together.get(one.name, 0))
