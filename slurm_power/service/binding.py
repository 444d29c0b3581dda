"""Binding a job to its zones in Slurm's own terms: licences, features or excluded nodes, and the admission record."""

from collections.abc import Sequence
from dataclasses import dataclass

from slurm_power.core.binding import bind_features, licence_of, licence_plan, licence_request
from slurm_power.core.claim import Charge
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.record import AdmissionRecord, Standing, put_record
from slurm_power.core.topology import Topology
from slurm_power.service.asking import Ask
from slurm_power.service.world import expand, fold


@dataclass(frozen=True, slots=True)
class Binding:
    """The fields of a job that bind it; names are those of the hook's job description."""

    licenses: str
    features: str
    excluded_nodes: str | None
    """None: leave as the user wrote it."""
    admin_comment: str


class Binder:
    """Binds jobs on one topology."""

    def __init__(self, topology: Topology, licenses: bool) -> None:
        self._topology = topology
        self._plan = licence_plan(topology) if licenses else None
        self._names = frozenset(self._plan.counts) if self._plan is not None else frozenset()

    def bind(self, ask: Ask, token: str, charges: Sequence[Charge]) -> Binding | Reason:
        """The binding of a job (one task of an array) with these charges, or why there is none."""
        licenses = ask.licenses
        if self._plan is not None:
            request = licence_request(charges, self._plan, ask.licenses)
            if request is None:
                return Reason(Code.BINDING, detail="its licences and ours are more than Slurm takes in one request")
            licenses = request
        features = bind_features(ask.features, charges)
        excluded = None
        if features is None:
            if len(charges) > 1:
                return Reason(Code.BINDING, detail=f"--constraint={ask.features} cannot be combined with several zones")
            features = ask.features
            excluded = self._all_but(charges[0].zone, ask.facts.excluded_nodes)
        record = AdmissionRecord(token, Standing.ADMIT, ask.request.tier.name, tuple(charges))
        return Binding(
            licenses=licenses,
            features=features,
            excluded_nodes=excluded,
            admin_comment=put_record(ask.facts.admin_comment, record),
        )

    def licence(self, element: str) -> str | None:
        """The name of the licence that counts a zone or feed; None where there is none."""
        name = licence_of(element)
        return name if self._plan is not None and name in self._names else None

    def _all_but(self, zone: str, already: str) -> str:
        others = (node for name, z in self._topology.zones.items() if name != zone for node in z.nodes)
        return fold([*expand(already), *others])
