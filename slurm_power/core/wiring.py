"""Which meters a charge lands on, and with how much: its zone's, and those of all feeds above it."""

from collections.abc import Iterable, Iterator

from slurm_power.core.claim import Charge, Claim
from slurm_power.core.level import Load
from slurm_power.core.live import Part
from slurm_power.core.meter import Meter
from slurm_power.core.policy import BurstRule
from slurm_power.core.topology import Tap, Topology

Loads = dict[str, Load]
"""By zone or feed."""


class Wiring:
    """A meter for each zone and feed, and the way from a zone up its feeds."""

    def __init__(self, topology: Topology, rule: BurstRule) -> None:
        self.meters: dict[str, Meter] = {}
        baselines_w = topology.feed_baselines_w
        for zone in topology.zones.values():
            self.meters[zone.name] = Meter(zone.name, zone.limit_w, zone.margin, zone.baseline_w, rule)
        for feed in topology.feeds.values():
            self.meters[feed.name] = Meter(feed.name, feed.limit_w, feed.margin, baselines_w[feed.name], rule)
        shared: dict[tuple[Tap, ...], tuple[tuple[Meter, Tap], ...]] = {}
        for taps in topology.taps.values():
            if taps not in shared:
                shared[taps] = tuple((self.meters[tap.feed], tap) for tap in taps)
        self._feeds_of = {zone: shared[taps] for zone, taps in topology.taps.items()}

    def spread(self, charge: Charge) -> list[tuple[Meter, int, int]]:
        """(meter, est W, burst W) for the zone of a charge and each of its feeds. KeyError for an unknown zone."""
        est_w, max_w = charge.est_w, charge.max_w
        spread = [(self.meters[charge.zone], est_w, max_w - est_w)]
        for meter, tap in self._feeds_of[charge.zone]:
            spread.append((meter, *through(tap, est_w, max_w)))
        return spread

    def parts(self, claim: Claim) -> Iterator[tuple[Meter, Part]]:
        """What a live claim puts on each meter; elements that carry the whole load share one part."""
        of_all = claim.group, claim.window.end, claim.through_cuts_s
        for charge in claim.charges:
            est_w, max_w = charge.est_w, charge.max_w
            yield self.meters[charge.zone], (est_w, max_w - est_w, charge.nodes * claim.share_milli, *of_all)
            whole = (est_w, max_w - est_w, 0, *of_all)
            for meter, tap in self._feeds_of[charge.zone]:
                if tap.numerator == tap.denominator:
                    yield meter, whole
                else:
                    yield meter, (*through(tap, est_w, max_w), 0, *of_all)

    def loads(self, charges: Iterable[Charge], share_milli: int = 0) -> Loads:
        """What charges put on each zone and feed together. KeyError for an unknown zone."""
        loads: Loads = {}
        for charge in charges:
            for meter, est_w, burst_w in self.spread(charge):
                load = loads.get(meter.name)
                if load is None:
                    load = loads[meter.name] = Load()
                load.est_w += est_w
                load.burst_w += burst_w
            loads[charge.zone].node_milli += charge.nodes * share_milli
        return loads


def through(tap: Tap, est_w: int, max_w: int) -> tuple[int, int]:
    """(est, burst) of what a feed is charged of a zone's load, in W, each rounded up."""
    if tap.numerator == tap.denominator:
        return est_w, max_w - est_w
    est = tap.share_w(est_w)
    return est, tap.share_w(max_w) - est
