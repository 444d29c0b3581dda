"""A ledger as it would be without some claims, for a while; while others have their turn, it is as it is.

Slurm shows nodes by number and not by name, so what victims leave on nodes is told as follows: a node that victims fill
together is idle, of any other just their part is free. Where that part would make more nodes than are up, it lies on a
node that something is free on already: on the fullest, which promises least.
"""

from collections.abc import Iterable, Mapping
from types import TracebackType

from slurm_power.core.claim import WHOLE_NODE, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeFree, ZoneNodes
from slurm_power.core.offer import Candidate
from slurm_power.core.steps import Steps, T, into


class Trial:
    """Takes victims out of a ledger and puts them back; leaving it, by an error too, puts back all that are out.

    Whoever is `gone` is out from the beginning to the end. Whoever has no live claim is left alone.
    """

    tries_at_once = 8

    def __init__(self, ledger: Ledger, gone: Iterable[Candidate] = ()) -> None:
        self._ledger = ledger
        self._always = {one.id: one for one in gone}
        self._gone: dict[str, tuple[Candidate, Claim]] = {}
        self._in_zone: dict[str, dict[str, None]] = {}
        """Zone → ids of victims whose nodes Slurm counts."""
        self._nodes: dict[str, ZoneNodes] = {}
        """What Slurm showed of the nodes of those zones."""

    def __enter__(self) -> "Trial":
        self.without(())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._have_out({})

    def between(self, steps: Steps[T]) -> Steps[T]:
        """The same steps, with everybody back between them: others see the ledger as it is, and may change it."""
        found: list[T] = []
        for _ in into(found, steps):
            out = {name: victim for name, (victim, _) in self._gone.items()}
            self._have_out({})
            yield
            self._have_out(out)
        return found[0]

    def without(self, victims: Iterable[Candidate]) -> None:
        """Have just these out, beside those who are gone."""
        self._have_out({**self._always, **{victim.id: victim for victim in victims}})

    def _have_out(self, wanted: Mapping[str, Candidate]) -> None:
        changed: set[str] = set()
        for name in [name for name in self._gone if name not in wanted]:
            changed.update(self._put_back(name))
        for name, victim in wanted.items():
            if name not in self._gone and name in self._ledger.claims:
                changed.update(self._take_out(victim))
        self._show(changed)

    def put_back(self, victim: Candidate) -> None:
        """Have one of them back."""
        if victim.id in self._gone:
            self._show(self._put_back(victim.id))

    def take_out(self, victim: Candidate) -> None:
        """Have one more out."""
        if victim.id in self._ledger.claims:
            self._show(self._take_out(victim))

    def _put_back(self, name: str) -> list[str]:
        _, claim = self._gone.pop(name)
        self._ledger.add(claim)
        zones = _zones(claim)
        for zone in zones:
            del self._in_zone[zone][name]
        return zones

    def _take_out(self, victim: Candidate) -> list[str]:
        claim = self._ledger.claims[victim.id]
        self._ledger.remove(victim.id)
        self._gone[victim.id] = victim, claim
        zones = _zones(claim)
        for zone in zones:
            self._in_zone.setdefault(zone, {})[victim.id] = None
            self._nodes.setdefault(zone, self._ledger.nodes[zone])
        return zones

    def _show(self, zones: Iterable[str]) -> None:
        for zone in zones:
            milli = self._left_on_nodes(zone)
            self._ledger.set_nodes(zone, freed(self._nodes[zone], milli))
            if not self._in_zone[zone]:
                del self._in_zone[zone], self._nodes[zone]  # Slurm may show others by the time that one is out again

    def _left_on_nodes(self, zone: str) -> list[int]:
        """Of each node of a zone what its victims take, in thousandths; a node that nobody knows counts by itself."""
        known: dict[str, int] = {}
        unknown: list[int] = []
        zone_of = self._ledger.topology.zone_of_node
        for name in sorted(self._in_zone[zone]):
            victim, claim = self._gone[name]
            on = [node for node in victim.on if zone_of.get(node) == zone]
            for node in on:
                known[node] = known.get(node, 0) + claim.share_milli
            count = sum(charge.nodes for charge in claim.charges if charge.zone == zone)
            unknown += [claim.share_milli] * (count - len(on))
        return [*known.values(), *unknown]


def freed(nodes: ZoneNodes, parts_milli: Iterable[int]) -> ZoneNodes:
    """A zone's nodes once so many thousandths of one node each are free beside what is free now."""
    idle, partly = nodes.idle, list(nodes.partly)
    for milli in sorted(parts_milli, reverse=True):
        if milli < 1:
            continue
        part = NodeFree(nodes.cpus * milli // WHOLE_NODE, nodes.gpus * milli // WHOLE_NODE)
        if idle + len(partly) >= nodes.up and partly:
            fullest = min(partly, key=lambda free: (free.gpus, free.cpus))
            partly.remove(fullest)
            part = NodeFree(min(part.cpus + fullest.cpus, nodes.cpus), min(part.gpus + fullest.gpus, nodes.gpus))
        if milli >= WHOLE_NODE or (part.cpus >= nodes.cpus and part.gpus >= nodes.gpus):
            idle = min(idle + 1, nodes.up)
        else:
            partly.append(part)
    return ZoneNodes(nodes.up, idle, nodes.cpus, nodes.gpus, tuple(partly))


def _zones(claim: Claim) -> list[str]:
    """The zones in whose node counts Slurm has the claim."""
    return list(dict.fromkeys(charge.zone for charge in claim.charges)) if claim.placed else []
