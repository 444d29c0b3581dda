"""Descriptions of jobs at submission, and what they ask for. Users submit the same job again and again."""

from collections.abc import Mapping
from dataclasses import replace

from slurm_power.core.admission import Reject
from slurm_power.service.asking import Ask, Free, forbidden, interpret
from slurm_power.service.facts import JobFacts, from_hook
from slurm_power.service.world import World

_MOST, _LONGEST, _ZONES = 1_000, 2_000, 100
"""Descriptions that are remembered, the characters that all texts of one may have, and the zones that it may name."""


class Descriptions:
    """Reads descriptions on one floor, each once, and again where the profile of such a job has changed.

    The hook gives every field one type, so that 1 and true cannot pass for each other.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[frozenset[tuple[str, object]], tuple[JobFacts, Ask]] = {}

    def read(self, job: Mapping[str, object], token: str, now: int) -> tuple[JobFacts, Ask | Free | Reject]:
        """The facts in the hook's description, and what the job asks for."""
        try:
            name = frozenset(job.items())
        except TypeError:  # a list or an object in it: not the hook's
            name = frozenset()
        known = self._known.get(name)
        if known is not None and known[1].learnt is self._world.learnt.get(known[1].alike):
            facts, ask = known
            return facts, replace(ask, submitted=now, request=replace(ask.request, id=token))
        facts = from_hook(job)
        refused = forbidden(facts)
        asked = Reject((refused,)) if refused else interpret(facts, self._world, token, now)
        if name and isinstance(asked, Ask) and _timeless(asked) and _short(job, asked):
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[name] = facts, asked
        return facts, asked


def _timeless(ask: Ask) -> bool:
    """Whether it would ask for the same at any other instant."""
    return not ask.facts.begin and ask.hours is None and ask.deadline is None


def _short(job: Mapping[str, object], ask: Ask) -> bool:
    zones = len(ask.request.zones or ()) + len(ask.request.ask.most)
    return zones <= _ZONES and sum(len(value) for value in job.values() if isinstance(value, str)) <= _LONGEST
