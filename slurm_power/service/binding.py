"""Binding a job to its zones in Slurm's own terms: licences, features or excluded nodes, and the admission record."""

from collections.abc import Collection, Sequence

from slurm_power.config.fields import fold_hostlist
from slurm_power.core.binding import (
    LicensePlan,
    bind_features,
    feature_of,
    licence_counts,
    licence_plan,
    licence_request,
)
from slurm_power.core.claim import RESERVATION, Charge
from slurm_power.core.immutable import immutable
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.record import AdmissionRecord, Standing, find_record, put_record
from slurm_power.core.topology import Topology
from slurm_power.service.asking import Ask

_LONGEST_LIST = 64_000
"""Characters of excluded nodes; an update is one argument of a command, and those are bounded."""

@immutable
class Binding:
    """The fields of a job that bind it; names are those of the hook's job description."""

    licenses: str
    features: str
    excluded_nodes: str | None
    """None: leave as the user wrote it."""
    admin_comment: str
    nodes: int | None = None
    """The number of nodes, where it is fixed: over several zones (Slurm takes counts of features for minima), and
    where each node more would draw more watts than were admitted."""
    reservation: str = ""
    """Slurm's reservation whose nodes it may use; empty: leave as the user wrote it."""


class Binder:
    """Binds jobs on one topology.

    `licenses`: the names that Slurm has; ours that it lacks are left out, for it would refuse the whole submission.
    `features`: the features that nodes have in Slurm; a zone whose feature is missing is bound by excluded nodes.
    """

    def __init__(self, topology: Topology, licenses: Collection[str], features: Collection[str]) -> None:
        self._topology = topology
        plan = licence_plan(topology)
        known = tuple(licence for licence in plan.licences if licence.name in licenses)
        elements = {licence.element for licence in known}
        self.missing = tuple(licence.name for licence in plan.licences if licence.name not in licenses)
        self._zones = frozenset(zone for zone in topology.zones if zone in elements)
        self._features = features
        self._names = {licence.element: licence.name for licence in known}
        taps = {zone: tuple(tap for tap in of_zone if tap.feed in elements) for zone, of_zone in plan.taps.items()}
        self._plan = LicensePlan(known, taps)
        self._others: dict[str, str] = {}

    def bind(
        self,
        ask: Ask,
        token: str,
        charges: Sequence[Charge],
        restarts: int = 0,
        counted: Sequence[Charge] | None = None,
        within: str = "",
        reservation: str = "",
    ) -> Binding | Reason:
        """The binding of a job (one task of an array) with these charges for its next start, or why there is none.

        `counted` are the charges that its licences stand for, where they are not its own alone (components); `within`
        is the id of the reservation's claim that it draws on, `reservation` Slurm's of the nodes that come with it.
        """
        licensed = [charge for charge in (charges if counted is None else counted) if charge.zone in self._zones]
        licenses = licence_request(licensed, self._plan, ask.licenses)
        if licenses is None:
            return Reason(Code.BINDING, detail="its licences and ours are more than Slurm takes in one request")
        features = ask.features if ask.pinned else bind_features(ask.features, charges)
        if not ask.pinned and any(feature_of(charge.zone) not in self._features for charge in charges):
            features = None
        own, before = ask.facts.excluded_nodes, find_record(ask.facts.admin_comment)
        excluded = own if before is not None and before.own_excluded is not None else None
        by_nodes = features is None
        if features is None:
            if len(charges) > 1:
                return Reason(Code.BINDING, detail=f"--constraint={ask.features} cannot be combined with several zones")
            features = ask.features
            excluded = ",".join(filter(None, (own, self._all_but(charges[0].zone))))
            if len(excluded) > _LONGEST_LIST:
                return Reason(Code.BINDING, detail="the list of nodes that it may not use would be too long for Slurm")
        fixed = len(charges) > 1 or (ask.scales and not ask.facts.nodes_fixed and not ask.facts.may_need_more)
        record = AdmissionRecord(
            token,
            Standing.ADMIT,
            ask.request.tier.name,
            tuple(charges),
            restarts=restarts,
            any_nodes=not (fixed or ask.scales or ask.facts.nodes_fixed),
            reservation=within.removeprefix(RESERVATION),
            own_excluded=own if by_nodes else None,
        )
        return Binding(
            licenses=licenses,
            features=features,
            excluded_nodes=excluded,
            admin_comment=put_record(ask.facts.admin_comment, record),
            nodes=sum(charge.nodes for charge in charges) if fixed else None,
            reservation=reservation,
        )

    def counts(self, charges: Sequence[Charge]) -> dict[str, int]:
        """Licence → watts of it that these charges take, of the licences that Slurm has."""
        return licence_counts([charge for charge in charges if charge.zone in self._zones], self._plan)

    def licence(self, element: str) -> str | None:
        """The name of the licence that counts a zone or feed; None where there is none."""
        return self._names.get(element)

    def _all_but(self, zone: str) -> str:
        """The nodes of all other zones, folded once."""
        if zone not in self._others:
            others = (node for name, z in self._topology.zones.items() if name != zone for node in z.nodes)
            self._others[zone] = fold_hostlist(others)
        return self._others[zone]
