"""Which nodes a fake Slurm gives to a job: features, free CPUs and GPUs. Deterministic, by name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ClusterShell.NodeSet import NodeSet

from slurm_power.ports import JobRecord, NodeRecord

_TERM = re.compile(r"(\([^()]*\)|[^&*()\[\]]+)\*(\d+)")
_BRACKET = re.compile(r"\[([^\]]*)\]")
_TOKEN = re.compile(r"[()&|]|[^()&|\s]+")


def expand(nodes: str) -> list[str]:
    """A hostlist's names, in order."""
    return list(NodeSet(nodes)) if nodes else []


def fold(names: Iterable[str]) -> str:
    """Names as a hostlist."""
    return str(NodeSet.fromlist(sorted(names)))


@dataclass(frozen=True)
class Share:
    """What a job takes on each of its nodes."""

    cpus: int
    gpus: int
    exclusive: bool


def share_of(job: JobRecord) -> Share:
    """A job's need on each node: an even split, rounded up."""
    count = max(job.node_count, 1)
    return Share(-(-job.cpus // count), -(-job.gpus // count), job.exclusive)


def take(node: NodeRecord, share: Share) -> NodeRecord:
    """The node with this much more in use."""
    if share.exclusive:
        return replace(node, cpus_alloc=node.cpus, gpus_alloc=node.gpus)
    return replace(node, cpus_alloc=node.cpus_alloc + share.cpus, gpus_alloc=node.gpus_alloc + share.gpus)


def fits(node: NodeRecord, share: Share) -> bool:
    """Whether a node has this much left."""
    if share.exclusive:
        return node.cpus_alloc == 0
    return node.cpus - node.cpus_alloc >= share.cpus and node.gpus - node.gpus_alloc >= share.gpus


def place(job: JobRecord, nodes: Mapping[str, NodeRecord], partition: Iterable[str]) -> list[str] | None:
    """The nodes that the job would get, None if there are not enough now."""
    share, barred = share_of(job), set(expand(job.excluded_nodes))
    free = [
        node
        for name in sorted(partition)
        if (node := nodes[name]).up and name not in barred and fits(node, share)
    ]
    wanted = expand(job.required_nodes)
    if not set(wanted) <= {node.name for node in free}:
        return None
    free.sort(key=lambda node: (node.name not in wanted, node.name))
    chosen = _choose(job.features, free, job.node_count)
    return None if chosen is None or not set(wanted) <= set(chosen) else sorted(chosen)


def names_in(expression: str) -> set[str]:
    """The features that an expression names."""
    return {word for word in re.split(r"[\[\]()&|,]|\*\d+", expression) if word}


def _choose(expression: str, free: Sequence[NodeRecord], count: int) -> list[str] | None:
    bracket = _BRACKET.search(expression)
    if bracket is None:
        fitting = [node.name for node in free if not expression or satisfied(expression, frozenset(node.features))]
        return fitting[:count] if len(fitting) >= count else None
    terms = _TERM.findall(bracket[1])
    if terms:  # what stands beside a bracket with counts binds nothing
        return _counted([(what, int(many)) for what, many in terms], free, count)
    beside = _BRACKET.sub("", expression).strip("&")
    for name in bracket[1].split("|"):  # all nodes have the same one of these
        found = _choose(f"{beside}&{name}" if beside else name, free, count)
        if found is not None:
            return found
    return None


def _counted(terms: Sequence[tuple[str, int]], free: Sequence[NodeRecord], count: int) -> list[str] | None:
    chosen: list[str] = []
    for what, many in terms:
        fitting = [n.name for n in free if n.name not in chosen and satisfied(what, frozenset(n.features))]
        if len(fitting) < many:
            return None
        chosen += fitting[:many]
    rest = [node.name for node in free if node.name not in chosen][: max(count - len(chosen), 0)]
    return [*chosen, *rest] if len(chosen) + len(rest) >= count else None


def satisfied(expression: str, features: frozenset[str]) -> bool:
    """Whether a node with these features satisfies names, `&`, `|` and parentheses, read from left to right."""
    tokens = _TOKEN.findall(expression)

    def value() -> bool:
        result = one()
        while tokens and tokens[0] in "&|":
            joined, other = tokens.pop(0), one()
            result = (result and other) if joined == "&" else (result or other)
        return result

    def one() -> bool:
        token = tokens.pop(0)
        if token != "(":
            return token in features
        inner = value()
        tokens.pop(0)
        return inner

    return value()
