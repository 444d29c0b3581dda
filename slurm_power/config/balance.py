"""The section `balance` of the site file: work that is moved to where measured headroom is."""

from slurm_power.config.fields import Count, Share
from slurm_power.config.section import Section, key


class Balance(Section):
    """Work leaves zones that draw more than was promised for zones that are measured and have room."""

    moves: Count | None = key(None, "the most jobs that are moved within an hour; without it none is")
    above: Share = key(
        "90%",
        "a zone is crowded once it has drawn more than this part of its limit, and more than its jobs asked for, for "
        "`control.dwell`; nor is another filled up beyond it",
    )
