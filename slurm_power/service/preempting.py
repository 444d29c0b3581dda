"""The preemptions that are under way, the watts that they keep for whom they are for, and what they go by."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from slurm_power.core.claim import Claim
from slurm_power.core.giving_way import PHYSICAL, PLACED, Preemption, Stage, Trigger, Victim
from slurm_power.core.ledger import Ledger
from slurm_power.core.window import Window
from slurm_power.service.cuts import Cuts
from slurm_power.service.law import NO_LAW, Law

KEPT = "preempt:"
"""What the id of a claim begins with that keeps watts for a job which others give way to; the job's key follows."""
_HOUR_S = 3_600


class Preempting:
    """State of a desk; holds no rule. `kept` claims are plans, as shadows are: they never count as committed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.law: Law = NO_LAW
        self.cuts = Cuts()
        self.ahead: dict[int, int] = {}
        """Instant at which a limit is going to be too low → that before which victims are not looked for again."""
        self.heads: dict[str, str] = {}
        """Tier → the key of its first job that the last pass found no place for."""
        self.checkpoints: dict[str, int] = {}
        """Job, as people call it → when it last said that it had written a checkpoint."""
        self.protected: set[str] = set()
        """Tokens of the jobs that an operator keeps from giving way to others."""
        self.why_not: dict[str, str] = {}
        """Key of a job that might preempt → why it does not."""
        self.not_before: dict[str, int] = {}
        """Key of a job or name of a reservation → the instant before which victims are not looked for again."""
        self._live: dict[str, Preemption] = {}
        self._for: dict[tuple[Trigger, str], str] = {}
        self._victims: dict[str, str] = {}
        self._kept: dict[str, Claim] = {}
        self._given: dict[str, list[int]] = {}
        """Tier → when jobs of it gave way, within the last hour."""

    # -- those under way ------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Preemption]:
        """In order of their beginning."""
        return iter(list(self._live.values()))

    def put(self, one: Preemption) -> None:
        """Keep it as it now is; one that is over is forgotten, and what was kept for it goes."""
        before = self._live.get(one.id)
        for victim in before.victims if before is not None else ():
            self._victims.pop(victim.key, None)
        if one.live:
            self._live[one.id] = one
            self._for[one.trigger, one.beneficiary] = one.id
            self._victims.update({victim.key: one.id for victim in one.victims})
        else:
            self._live.pop(one.id, None)
            self._for.pop((one.trigger, one.beneficiary), None)
            if one.trigger in PLACED:
                self.let_go(one.beneficiary)

    def serving(self, trigger: Trigger, beneficiary: str) -> Preemption | None:
        """The live one that is for this job or reservation. Of a cut there may be several, by their notice."""
        return self._live.get(self._for.get((trigger, beneficiary), ""))

    def victim(self, key: str) -> tuple[Preemption, Victim] | None:
        """The preemption in which this job gives way, and its part in it."""
        one = self._live.get(self._victims.get(key, ""))
        return None if one is None else next((one, each) for each in one.victims if each.key == key)

    def put_off(self, one: Preemption, until: int) -> None:
        """It came to nothing: no victims are looked for again before this instant."""
        if one.trigger is Trigger.OVER:
            self.cuts.patience.put_off(one.elements, until)
        elif one.trigger is Trigger.CUT and one.cut_at is not None:
            self.ahead[one.cut_at] = until
        elif one.trigger not in PHYSICAL:
            self.not_before[one.beneficiary] = until

    def not_later_than(self, now: int) -> None:
        """The clock has been set back: what was noted at an instant to come was noted now, and nothing is put off.

        What is kept is booked on a ledger of now at once: see `move_to`.
        """
        self.not_before.clear()
        self.cuts.patience.forget_all()
        self.ahead.clear()
        self._given = {tier: [min(at, now) for at in times] for tier, times in self._given.items()}
        for one in self._live.values():
            self._live[one.id] = replace(one, since=min(one.since, now))
        for key, claim in self._kept.items():
            length_s = claim.window.end - claim.window.start
            self._kept[key] = claim.at(Window(now + 1, now + 1 + length_s))

    def blocks(self, key: str) -> bool:
        """Whether a job waits until its victims' watts are proved to be free."""
        one = self.serving(Trigger.JOB, key)
        return one is not None and one.stage is Stage.STRIKING

    def goes_to(self, key: str) -> frozenset[str] | None:
        """The zones that a job is being moved to; None where it is not."""
        one, kept = self.serving(Trigger.MOVE, key), self._kept.get(key)
        return frozenset(charge.zone for charge in kept.charges) if one is not None and kept is not None else None

    # -- watts that are kept --------------------------------------------------------------------------------------

    def keep(self, key: str, claim: Claim) -> None:
        """Have others plan around this claim of a job, which it does not hold yet."""
        self.let_go(key)
        self._book(key, replace(claim, id=KEPT + key, tentative=True, within=""))

    def let_go(self, key: str) -> None:
        """Nothing is kept for it any more."""
        claim = self._kept.pop(key, None)
        if claim is not None:
            self._ledger.remove(claim.id)

    def kept(self, key: str) -> str | None:
        """The id of what is kept for a job, so that it does not stand in its own way."""
        return self._kept[key].id if key in self._kept else None

    def renew(self, now: int) -> None:
        """What should have begun by now stays a plan, just ahead."""
        for key, claim in list(self._kept.items()):
            window = claim.window
            if window.start <= now:
                self._ledger.remove(claim.id)
                self._book(key, claim.at(Window(now + 1, now + 1 + window.end - window.start)))

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """For a question about what was promised before: plans stand in no way."""
        for claim in self._kept.values():
            self._ledger.remove(claim.id)
        try:
            yield
        finally:
            for claim in self._kept.values():
                self._ledger.add(claim)

    def move_to(self, ledger: Ledger) -> None:
        """Keep the same on another ledger; what lay in a zone that is gone is kept no more."""
        kept, self._kept, self._ledger = self._kept, {}, ledger
        for key, claim in kept.items():
            if all(charge.zone in ledger.nodes for charge in claim.charges):
                self._book(key, claim)

    def _book(self, key: str, claim: Claim) -> None:
        self._ledger.add(claim)
        self._kept[key] = claim

    # -- how many an hour -----------------------------------------------------------------------------------------

    def gave_way(self, tier: str, at: int) -> None:
        """A job of this tier had to give way."""
        self._given.setdefault(tier, []).append(at)

    def given(self, now: int) -> Mapping[str, int]:
        """Tier → how many jobs of it gave way within the last hour."""
        self._given = {tier: [at for at in times if at > now - _HOUR_S] for tier, times in self._given.items()}
        return {tier: len(times) for tier, times in self._given.items()}
