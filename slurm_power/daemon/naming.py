"""The sources of telemetry by name, and what each is to tell of."""

from collections import Counter
from collections.abc import Sequence

from slurm_power.config import Site
from slurm_power.config.telemetry import Prometheus, TelemetrySource
from slurm_power.ports import Kind
from slurm_power.service.draws import Element, Sensor


def names(sources: Sequence[TelemetrySource]) -> dict[str, TelemetrySource]:
    """A name for each, which stays the same as long as the source does."""
    found: dict[str, TelemetrySource] = {}
    seen: Counter[str] = Counter()
    for source in sources:
        parts = (getattr(source, what, None) for what in ("zone", "feed", "node", "inlet"))
        name = " ".join([f"{source.type} {source.place}", *(part for part in parts if part is not None)])
        seen[name] += 1
        found[name if seen[name] == 1 else f"{name} #{seen[name]}"] = source
    return found


def expected(source: TelemetrySource, site: Site) -> frozenset[Sensor]:
    """What a source is to tell of by the site file, whether it ever has or not."""
    if isinstance(source, Prometheus):
        zones = source.zones or tuple(site.topology.zones) if source.zone_watts is not None else ()
        feeds = source.feeds or () if source.feed_watts is not None else ()
        told = [Element(Kind.ZONE, zone) for zone in zones] + [Element(Kind.FEED, feed) for feed in feeds]
        return frozenset(map(Sensor, told))
    named = ((kind, getattr(source, kind, None)) for kind in Kind)
    measures = any(getattr(source, what, None) for what in ("oid", "phases", "energy")) or source.type == "redfish"
    inlet = getattr(source, "inlet", None) or ""
    return frozenset(Sensor(Element(kind, name), inlet) for kind, name in named if name is not None and measures)
