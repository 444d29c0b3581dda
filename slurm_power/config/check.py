"""What needs more than one section to judge: references, sides, nodes in two zones, cycles."""

from collections.abc import Mapping, Sequence

from slurm_power.config.fields import fold_hostlist
from slurm_power.config.floor import side_of
from slurm_power.config.problems import Path, Problems, nearest, one_of
from slurm_power.config.schema import SiteFile, Zone
from slurm_power.core.reservation import WhenShort
from slurm_power.core.topology import FeedKind, Redundancy, Side


def references(file: SiteFile, problems: Problems) -> None:
    """Note every name that leads nowhere and every rule between sections that is broken."""
    sound = _feeds(file, problems)
    _names(file, problems)
    _nodes(file, problems)
    for name, zone in file.zones.items():
        _zone(name, zone, file, problems, sound)
    for name, partition in file.partitions.items():
        for zone_name in partition.zones or ():
            _known(zone_name, file.zones, ("partitions", name, "zones"), "zone", problems)
    _tiers(file, problems)
    _classes(file, problems)
    _tariffs(file, problems)
    _preemption(file, problems)
    _service_levels(file, problems)
    _telemetry(file, problems)


def default_tier(file: SiteFile) -> str:
    """`defaults.tier`, else bronze, else the lowest tier."""
    if file.defaults.tier is not None:
        return file.defaults.tier
    return "bronze" if "bronze" in file.tiers else list(file.tiers)[-1]


def warn_of_hres(file: SiteFile, problems: Problems) -> None:
    """A warning where the file asks for what this version does not act on."""
    if file.native == "hres":
        problems.warn(
            ("native",), "hres is read and checked, but has no effect in this version: licences count"
        )


def _known(name: str, names: Mapping[str, object], path: Path, what: str, problems: Problems) -> bool:
    if name in names:
        return True
    problems.add(path, f"there is no {what} '{name}'", nearest(name, names))
    return False


def _feeds(file: SiteFile, problems: Problems) -> bool:
    """Limits, parents, cycles, kinds and sides of feeds; whether the way up from each feed ends."""
    cyclic: set[str] = set()
    for name, feed in file.feeds.items():
        path = ("feeds", name)
        if feed.limit is None and feed.breaker is None:
            problems.add(path, "has no limit", "'limit' or 'breaker'")
        if feed.kind is FeedKind.COOLING and feed.breaker is not None:
            problems.add((*path, "breaker"), "a cooling feed has no breaker", "'limit'")
        if feed.parent is None or not _known(feed.parent, file.feeds, (*path, "parent"), "feed", problems):
            continue
        parent = file.feeds[feed.parent]
        if parent.kind is not feed.kind:
            problems.add(
                (*path, "parent"), f"'{feed.parent}' delivers {parent.kind}", f"a feed of kind {feed.kind}"
            )
        cycle = _cycle(name, file)
        if cycle:
            if not cyclic.intersection(cycle):
                problems.add((*path, "parent"), f"goes round in a circle: {' → '.join(cycle)}", "a tree")
            cyclic.update(cycle)
    sound = not cyclic and all(
        feed.parent is None or feed.parent in file.feeds for feed in file.feeds.values()
    )
    if sound:
        _sides(file, problems)
    return sound


def _cycle(name: str, file: SiteFile) -> list[str]:
    """The way up from a feed and back to it; empty where it does not come back."""
    way = [name]
    while (parent := file.feeds[way[-1]].parent) is not None and parent in file.feeds:
        way.append(parent)
        if parent == name:
            return way
        if parent in way[:-1]:
            return []
    return []


def _sides(file: SiteFile, problems: Problems) -> None:
    for name, feed in file.feeds.items():
        above = side_of(feed.parent, file) if feed.parent is not None else None
        if feed.side is not None and above is not None and feed.side is not above:
            problem = f"is {feed.side}, and its parent {feed.parent} is on {above}"
            problems.add(("feeds", name, "side"), problem, above)


def _names(file: SiteFile, problems: Problems) -> None:
    for name in file.zones:
        if name in file.feeds:
            expected = "another name; both would be the same licence"
            problems.add(("zones", name), "a feed has this name too", expected)


def _nodes(file: SiteFile, problems: Problems) -> None:
    owner: dict[str, str] = {}
    for name, zone in file.zones.items():
        twice: dict[str, list[str]] = {}
        for node in zone.nodes:
            first = owner.setdefault(node, name)
            if first != name:
                twice.setdefault(first, []).append(node)
        for first, nodes in twice.items():
            problems.add(
                ("zones", name, "nodes"),
                f"{fold_hostlist(nodes)} is in zone {first} already",
                "each node in one zone",
            )


def _zone(name: str, zone: Zone, file: SiteFile, problems: Problems, sound: bool) -> None:
    path = ("zones", name)
    if zone.limit is None and zone.breaker is None and zone.cooling is None:
        problems.add(path, "has no limit", "'limit', 'breaker' or 'cooling'")
    known = [
        feed
        for index, feed in enumerate(zone.feeds)
        if _known(feed, file.feeds, (*path, "feeds", index), "feed", problems)
    ]
    if len(known) != len(zone.feeds) or not sound:
        return
    _one_way_up(path, known, file, problems)
    if (zone.redundancy or file.defaults.redundancy) is Redundancy.TWO_N:
        _both_sides(path, [feed for feed in known if file.feeds[feed].kind is FeedKind.POWER], file, problems)


def _one_way_up(path: Path, feeds: Sequence[str], file: SiteFile, problems: Problems) -> None:
    """A zone names its nearest feeds, each once; those above follow."""
    for index, feed in enumerate(feeds):
        if feed in feeds[:index]:
            problems.add((*path, "feeds", index), f"'{feed}' is named twice", "each feed once")
        above = file.feeds[feed].parent
        while above is not None:
            if above in feeds:
                problems.add(
                    (*path, "feeds", feeds.index(above)),
                    f"'{above}' is above '{feed}'",
                    "the nearest feeds only",
                )
            above = file.feeds[above].parent


def _both_sides(path: Path, feeds: Sequence[str], file: SiteFile, problems: Problems) -> None:
    without = [feed for feed in feeds if side_of(feed, file) is None]
    if without:
        problem = f"2N needs to know the side of {', '.join(without)}"
        problems.add((*path, "redundancy"), problem, "'side: A' or 'side: B' there or on a parent")
        return
    sides = {side_of(feed, file) for feed in feeds}
    missing = [side for side in Side if side not in sides]
    if missing:
        problem = f"2N without a power feed on side {one_of(missing)}"
        problems.add((*path, "redundancy"), problem, "feeds on side A and on side B")


def _tiers(file: SiteFile, problems: Problems) -> None:
    if not file.tiers:
        problems.add(("tiers",), "is empty", "at least one tier")
        return
    if file.defaults.tier is not None:
        _known(file.defaults.tier, file.tiers, ("defaults", "tier"), "tier", problems)
    owner: dict[str, str] = {}
    above: str | None = None
    for name, tier in file.tiers.items():
        first = owner.setdefault(tier.qos or name, name)
        if first != name:
            path = ("tiers", name, "qos")
            problem = f"'{tier.qos or name}' stands for tier {first} already"
            problems.add(path, problem, "a QOS of its own for each tier")
        accepts, path = tier.planned_cuts == "accept", ("tiers", name, "planned_cuts")
        if accepts and tier.notice is None:
            problem = "is 'accept', and its jobs are never preempted: no cut could end them"
            problems.add(path, problem, "'notice: 0s', say, or 'planned_cuts: avoid'")
        elif above is not None and not accepts:
            problem = f"is 'avoid', and tier {above} above it accepts them: the lowest tier gives way first"
            problems.add(path, problem, f"'planned_cuts: accept', or 'avoid' for {above} too")
        elif accepts and file.preemption.after_cut is not WhenShort.PREEMPT:
            problem = "is 'accept', and 'preemption.after_cut' is not 'preempt': no cut would end its jobs"
            problems.add(path, problem, "'after_cut: preempt', or 'planned_cuts: avoid'")
        above = name if accepts else above


def _classes(file: SiteFile, problems: Problems) -> None:
    for name, preset in file.classes.items():
        if preset.tier is not None:
            _known(preset.tier, file.tiers, ("classes", name, "tier"), "tier", problems)
        if preset.est is not None and preset.max is not None and preset.max < preset.est:
            problems.add(("classes", name, "max"), "is less than est", "max at least est")


def _tariffs(file: SiteFile, problems: Problems) -> None:
    tariffs = file.tariff or ()
    first: dict[object, int] = {}
    for index, tariff in enumerate(tariffs):
        path: Path = ("tariff", index) if ("tariff", index) in problems.lines else ("tariff",)
        for tier in tariff.tiers:
            _known(tier, file.tiers, (*path, "tiers", tier), "tier", problems)
        if first.setdefault(tariff.begin, index) != index:
            problem = f"holds from the same day as number {first[tariff.begin] + 1} of the list"
            problems.add((*path, "from"), problem, "a day of its own for each tariff")


def _preemption(file: SiteFile, problems: Problems) -> None:
    for index, tier in enumerate(file.preemption.emergency):
        _known(tier, file.tiers, ("preemption", "emergency", index), "tier", problems)


def _service_levels(file: SiteFile, problems: Problems) -> None:
    for tier in file.sla or {}:
        _known(tier, file.tiers, ("sla", tier), "tier", problems)


def _telemetry(file: SiteFile, problems: Problems) -> None:
    nodes = dict.fromkeys(node for zone in file.zones.values() for node in zone.nodes)
    for index, source in enumerate(file.telemetry or ()):
        for what, names in (("zone", file.zones), ("feed", file.feeds), ("node", nodes)):
            element = getattr(source, what, None)
            if element is not None:
                _known(element, names, ("telemetry", index, what), what, problems)
            for element in getattr(source, f"{what}s", None) or ():
                _known(element, names, ("telemetry", index, f"{what}s"), what, problems)
