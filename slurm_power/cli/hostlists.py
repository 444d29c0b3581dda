"""Names given as Slurm's hostlists."""

from collections.abc import Iterable

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException

from slurm_power.core.errors import UsageError


def expand(hostlists: Iterable[str]) -> tuple[str, ...]:
    """The names in `rack[01-02] rack07`, each once. Raises UsageError."""
    names: dict[str, None] = {}
    for text in hostlists:
        try:
            names.update(dict.fromkeys(NodeSet(text, resolver=RESOLVER_NOGROUP)))
        except NodeSetException:
            raise UsageError(f"'{text}' is not a hostlist; write rack[01-04,07] or rack01,rack02") from None
    return tuple(names)
