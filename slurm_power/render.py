"""What Slurm's own configuration has to say for a site file: lines of slurm.conf, and sacctmgr's arguments."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from textwrap import wrap

from slurm_power.config import Site
from slurm_power.config.fields import fold_hostlist
from slurm_power.core.binding import PREFIX, feature_of, licence_plan
from slurm_power.core.policy import Native, Policy, Tier
from slurm_power.ports import NodeRecord

LUA_DIR = "/usr/share/slurm_power/lua"
"""Where the hook and the gate are installed unless told otherwise."""
PRIORITY_STEP = 1_000
"""How far apart the priorities of neighbouring tiers' QOS are."""
_GATE_SLACK_S = 30
_MANY_GATES = (24, 5, 0)
"""From here on slurm.conf may name several PrologSlurmctld."""
_RECLAIM = (23, 2, 0)
"""From here on Slurm itself can preempt for a licence."""
_WIDTH = 100


def licences_line(site: Site, own: str = "") -> str:
    """`Licenses=…` with the site's own licences and ours; empty where there is nothing to count."""
    ours = []
    if site.policy.native is Native.LICENSES:
        ours = [f"{licence.name}:{licence.count}" for licence in licence_plan(site.topology).licences]
    parts = [own, *ours] if own else ours
    return f"Licenses={','.join(parts)}" if parts else ""


def node_features(site: Site) -> dict[str, str]:
    """Node → the feature of its zone."""
    return {node: feature_of(zone) for node, zone in site.topology.zone_of_node.items()}


def slurm_fragment(
    site: Site,
    *,
    version: tuple[int, int, int] = (22, 5, 8),
    lua_dir: PurePath | str = LUA_DIR,
    nodes: Sequence[NodeRecord] = (),
    licences: str = "",
) -> str:
    """Lines for slurm.conf, each explained; what the site has to decide or to merge is commented out.

    `nodes` are Slurm's nodes where they are known, so that their features are kept; `licences` are the site's own.
    """
    parts = [
        _comment(
            f"slurm_power: what slurm.conf needs for {site.path}. `scontrol reconfigure` makes it known."
        ),
        *_licences(site, licences),
        *_features(site, nodes),
        *_hook(lua_dir),
        *_gate(site, version, lua_dir),
        *_scheduling(),
        *_preemption(version),
    ]
    return "\n".join(parts) + "\n"


def sacctmgr_commands(site: Site) -> tuple[tuple[str, ...], ...]:
    """Argument lists that make the tiers' QOS, the lowest first because the higher ones name it.

    `add` fails where the QOS is there already; the `modify` after it is right in either case.
    """
    tiers = _by_rank(site.policy)
    commands: list[tuple[str, ...]] = []
    for tier in reversed(tiers):
        victims = [low.qos for low in tiers if low.rank > tier.rank and low.notice_s is not None]
        settings = [f"Priority={(len(tiers) - tier.rank) * PRIORITY_STEP}", f"GraceTime={tier.notice_s or 0}"]
        if victims:
            settings.append(f"Preempt={','.join(victims)}")
        if tier.notice_s is not None:
            settings.append("PreemptMode=requeue")
        commands.append(("sacctmgr", "-i", "add", "qos", tier.qos))
        commands.append(("sacctmgr", "-i", "modify", "qos", tier.qos, "set", *settings))
    return tuple(commands)


def _by_rank(policy: Policy) -> list[Tier]:
    return sorted(policy.tiers.values(), key=lambda tier: tier.rank)


def _comment(text: str) -> str:
    return "\n".join(wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False))


def _licences(site: Site, own: str) -> Iterator[str]:
    yield ""
    line = licences_line(site, own)
    if site.policy.native is not Native.LICENSES:
        yield _comment("native: none, so slurmctld counts no watts; only the daemon does.")
        if line:
            yield line
        return
    yield _comment(
        "Watts as licences, counted by slurmctld even while the daemon is away: a zone's usable less its baseline, "
        "and a feed where the zones below can together pass it. slurm.conf has one Licenses line: put your own "
        "licences into this one. A change takes effect with `scontrol reconfigure`; do that rarely, since some "
        "versions count the licences of a completing job twice then."
    )
    yield line


def _features(site: Site, nodes: Sequence[NodeRecord]) -> Iterator[str]:
    yield ""
    yield _comment(
        "Each zone is a feature of its nodes, by which a job is bound to it. Put these into your NodeName lines (a "
        "node has one such line, so split lines that span zones); features set by scontrol are lost at a restart."
    )
    known: Mapping[str, NodeRecord] = {node.name: node for node in nodes}
    for zone in site.topology.zones.values():
        together: dict[tuple[str, ...], list[str]] = {}
        for name in zone.nodes:
            own = known[name].features if name in known else ()
            together.setdefault(tuple(f for f in own if not f.startswith(PREFIX)), []).append(name)
        for own, names in together.items():
            yield f"# NodeName={fold_hostlist(names)} Feature={','.join((*own, feature_of(zone.name)))} ..."


def _hook(lua_dir: PurePath | str) -> Iterator[str]:
    yield ""
    yield _comment(
        f"The submit hook. Copy {lua_dir}/job_submit.lua beside slurm.conf, or merge it into yours; without that "
        "file slurmctld does not start. Other plugins of yours stay in the list."
    )
    yield "JobSubmitPlugins=lua"


def _gate(site: Site, version: tuple[int, int, int], lua_dir: PurePath | str) -> Iterator[str]:
    yield ""
    text = (
        "The launch gate, asked once the nodes are chosen. slurmctld starts the job where this file is missing or not "
        "executable, so replace it only by renaming another over it. A prolog of your own is called from it"
    )
    beside = ", never listed beside it: the first to end opens the job." if version >= _MANY_GATES else "."
    yield _comment(text + beside)
    yield f"PrologSlurmctld={lua_dir}/power_prolog"
    yield f"EpilogSlurmctld={lua_dir}/power_epilog"
    yield _comment(
        "Slurm waits for a prolog without end. The gate limits itself; if you want Slurm to do it too, let it wait "
        "longer than the gate does (the limit holds for the nodes' own prologs and epilogs as well):"
    )
    yield f"# PrologEpilogTimeout={site.policy.gate_wait_s + _GATE_SLACK_S}"


def _scheduling() -> Iterator[str]:
    yield ""
    yield _comment(
        "SchedulerParameters: nothing is required. Never set bf_licenses: with it the first job short of a licence "
        "stops the main scheduler for all others, and backfill slows with the square of the licences. "
        "nohold_on_prolog_fail does not concern the gate. Held jobs keep the age of their submission with:"
    )
    yield "# PriorityFlags=ACCRUE_ALWAYS"


def _preemption(version: tuple[int, int, int]) -> Iterator[str]:
    yield ""
    yield _comment(
        "Tiers are QOS, so slurmdbd has to be there and QOS enforced. With preempt/qos Slurm itself preempts for "
        "nodes, by what sacctmgr says of the QOS; merge these with your own:"
    )
    yield "# AccountingStorageEnforce=associations,limits,qos"
    yield "# PreemptType=preempt/qos"
    yield "# PreemptMode=REQUEUE"
    if version >= _RECLAIM:
        yield _comment(
            "Leave PreemptParameters=reclaim_licenses out: who gives way for watts is decided with the feeds in view."
        )
