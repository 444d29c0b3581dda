"""Names given as Slurm's hostlists."""

from collections.abc import Iterable

from slurm_power.core.errors import UsageError


def expand(hostlists: Iterable[str]) -> tuple[str, ...]:
    """The names in `rack[01-02] rack07`, each once. Raises UsageError."""
    # slow to load, and most calls name nothing
    from slurm_power.config.fields import expand_hostlist_or_nothing  # noqa: PLC0415

    names: dict[str, None] = {}
    for text in hostlists:
        found = expand_hostlist_or_nothing(text)
        if not found:
            raise UsageError(f"'{text}' is not a hostlist; write rack[01-04,07] or rack01,rack02")
        names.update(dict.fromkeys(found))
    return tuple(names)
