"""How many jobs of a tier may give way within an hour, so that no tier is cleared out all at once."""

from collections import Counter
from collections.abc import Iterable

from slurm_power.core.giving_way import UNTOUCHED
from slurm_power.core.offer import Candidate
from slurm_power.service.candidates import tier_of
from slurm_power.service.desk import Desk


def too_many(desk: Desk, victims: Iterable[Candidate]) -> str | None:
    """Why these cannot give way too within this hour, for people; None where they can."""
    records = [entry.record for one in victims if (entry := desk.book.get(one.id)) is not None]
    tiers = Counter(tier_of(desk, record).name for record in records if record is not None)
    given = Counter(desk.preempting.given(desk.ledger.now))
    given.update(victim.tier for one in desk.preempting if one.stage in UNTOUCHED for victim in one.victims)
    most = desk.site.preemption.per_hour
    tier = next((tier for tier in sorted(tiers) if given[tier] + tiers[tier] > most), None)
    return f"as many jobs of tier {tier} as may give way in an hour have done so" if tier is not None else None
