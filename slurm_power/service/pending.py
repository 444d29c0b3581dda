"""Jobs that a snapshot shows pending: who holds them, what they ask by now, and whether their admission stands."""

import re
from dataclasses import replace
from typing import TypeGuard

from slurm_power.core.admission import Hold, Reject
from slurm_power.core.claim import Claim
from slurm_power.core.lifecycle import CLAIMING, Event, State
from slurm_power.core.policy import Mode
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.record import NEVER, AdmissionRecord, Standing, find_record
from slurm_power.ports import HoldKind, JobRecord
from slurm_power.service.asking import Ask, Free, interpret, under_law
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.facts import from_record, same_request, with_unseen
from slurm_power.service.holds import take_admins
from slurm_power.service.launch import as_admitted

_AFTER_END = re.compile(r"after(?:any|ok|notok):(\d+)(?:_(?:\d+|\*))?(?:\(unfulfilled\))?")
_REFUSED = "BadConstraints"
_PATIENCE_S = 300
"""How long a job is put off for which Slurm found no nodes where it was bound."""


class Pending:
    """Judges pending jobs for one desk. `holds` are what the database remembered of holds when we started, by key."""

    def __init__(self, desk: Desk, holds: dict[str, HoldKind]) -> None:
        self._desk = desk
        self._holds = holds

    def judge(self, entry: Entry, record: JobRecord, before: JobRecord | None) -> None:
        """Take in a pending job's record; `before` is the one that was seen last."""
        found = find_record(record.admin_comment)
        if before is not None and not same_request(before, record):
            entry.dirty = True
        if record.held and entry.hold is None:
            refused = record.reason == _REFUSED and found is not None and found.standing is Standing.ADMIT
            entry.hold = HoldKind.POWER if refused else self._whose_hold(entry, found)
        take_admins(self._desk.book, entry, record, before)
        free = found is not None and found.standing is Standing.FREE
        if self._desk.mode is not Mode.ENFORCE or (free and self._stays_free(entry, record, found)):
            self._leave(entry)
        elif record.held:
            self._held(entry, record)
            if record.reason == _REFUSED and entry.state is State.WAITING:
                self._put_off(entry)
        else:
            self._unheld(entry, record, found)

    def _stays_free(self, entry: Entry, record: JobRecord, found: AdmissionRecord | None) -> bool:
        """Whether a job marked free asks for no zone's nodes, or cannot be held at all.

        Otherwise it was let go while the mode was off.
        """
        if found is not None and found.hold == NEVER:
            return True
        return isinstance(interpret(from_record(record), self._desk.world, entry.key, self._desk.ledger.now), Free)

    def unmet(self, dependency: str) -> str:
        """The dependency, or nothing where every job that it names has ended.

        Slurm itself looks at a held job's dependency but once a minute. Whether the others ended as they should is
        its to judge, once the job is released.
        """
        book = self._desk.book
        for part in dependency.split(","):
            match = _AFTER_END.fullmatch(part)
            if match is None or book.of_job(int(match[1])) is not None or int(match[1]) in book.arrays:
                return dependency
        return ""

    def remembered(self, key: str) -> HoldKind | None:
        """What the database said of that very job or task."""
        return self._holds.get(key)

    def forget_stored(self) -> None:
        """All jobs have been seen: from here on we know ourselves who holds them."""
        self._holds.clear()

    def starting(self, entry: Entry, record: JobRecord) -> None:
        """Its prolog is running: the gate decides. Until it has, an admission that we had not seen counts as one.

        A task of an admitted array takes its copy of what the pending rest has claimed.
        """
        desk = self._desk
        found = find_record(record.admin_comment)
        if entry.state is not State.FREE or not _admitted(found, record) or desk.mode is not Mode.ENFORCE:
            return
        claim = self._claim_again(entry, record, found)
        if claim is None:
            return
        rest = desk.book.get(entry.token)
        lent = desk.book.take_copy(rest) if rest is not None and rest is not entry else None
        if desk.shortfall_instead(entry.key, claim) is None:
            self._admit(entry, claim)
        elif lent is not None:
            desk.ledger.replace(lent.id, lent)

    # -- held ---------------------------------------------------------------------------------------------------

    def _held(self, entry: Entry, record: JobRecord) -> None:
        desk = self._desk
        if entry.state in (State.BINDING, State.ADMITTED):
            # Its release did not take effect, or it has been held since: the claim goes.
            desk.book.move(entry, Event.UNBIND)
        ask = self._ask_anew(entry, record)
        if ask is None:
            return
        if not desk.acts_on(ask):
            self._leave(entry)
            return
        parked = entry.hold is not HoldKind.POWER or ask.waits is not None
        if parked and entry.state is not State.PARKED:
            desk.book.move(entry, Event.PARK)
            waits = ask.waits or (Reason(Code.USER_HOLD) if entry.held_by_user else None)
            if waits is not None and entry.hold is not HoldKind.ADMIN:
                begins = ask.request.not_before
                entry.verdict = Hold((waits,), begins if begins > desk.ledger.now else None)
        elif not parked and entry.state is not State.WAITING:
            self._to_queue(entry)

    def _put_off(self, entry: Entry) -> None:
        """Slurm took the binding, but finds no nodes for it, and has set the job's priority to 0: nobody's hold.

        It is looked at again even if its record stays the same: that may be how it looks after the next try, too.
        """
        entry.stale = True
        if not entry.retry_at:
            entry.note = "Slurm finds no nodes for it in the zones that it was bound to (BadConstraints)"
            entry.retry_at = self._desk.ledger.now + _PATIENCE_S

    def _whose_hold(self, entry: Entry, found: AdmissionRecord | None) -> HoldKind:
        """The database knows best (users cannot change it), then the admission record; else it is the user's own."""
        stored = self._holds.get(entry.key) or self._holds.get(entry.token)
        if stored is not None:
            return stored
        if found is not None and found.standing is Standing.HOLD and found.hold in set(HoldKind):
            return HoldKind(found.hold)
        return HoldKind.USER

    # -- not held -----------------------------------------------------------------------------------------------

    def _unheld(self, entry: Entry, record: JobRecord, found: AdmissionRecord | None) -> None:
        """Pending and free to start: fine if it was admitted and its claim is there or still fits."""
        desk = self._desk
        if entry.state is State.BINDING:
            desk.book.move(entry, Event.BOUND, desk.ledger.claims[entry.key])
            entry.hold = None
        elif entry.held_by_user:
            entry.hold = None  # Slurm did not take it, or somebody has lifted it
        if found is None or found.standing is not Standing.ADMIT:
            self._stray(entry, record)
            return
        if not _admitted(found, record):
            entry.dirty = True
            self._to_queue(entry)  # requeued: it goes back through admission
            return
        if self.unmet(record.dependency) or self._begins_later(record):
            # It has to wait on, or for ever. What it waits for is taken from this record: a held one may not show it.
            entry.dirty = True
            self._stray(entry, record)
            return
        if entry.state is State.ADMITTED and not record.array_tasks and entry.charges == found.charges:
            return
        claim = self._claim_again(entry, record, found)
        if claim is not None and desk.shortfall_instead(entry.key, claim) is None:
            entry.hold = None
            self._admit(entry, claim)
        else:
            self._to_queue(entry)

    def _begins_later(self, record: JobRecord) -> bool:
        """Whether its begin time has moved so far ahead that it would hold its watts longer than a start may take.

        That much also allows for the clocks of two hosts.
        """
        desk = self._desk
        return (record.eligible_time or 0) > desk.ledger.now + desk.site.policy.start_grace_s

    def _admit(self, entry: Entry, claim: Claim) -> None:
        book = self._desk.book
        if entry.state is State.ADMITTED:
            book.ledger.replace(entry.key, claim)
        elif entry.state is State.RUNNING:
            book.move(entry, Event.ADMIT, claim)
        else:
            if entry.state is not State.WAITING:
                book.move(entry, Event.WAIT)
            book.move(entry, Event.BIND, claim)
            book.move(entry, Event.BOUND, claim)

    def _claim_again(self, entry: Entry, record: JobRecord, found: AdmissionRecord) -> Claim | None:
        """The claim that the admission record stands for; for the rest of an array, of as many tasks as may run."""
        desk = self._desk
        ask = self._ask_anew(entry, record)
        if ask is None or ask.waits is not None or not found.charges:
            return None
        if any(charge.zone not in desk.ledger.nodes for charge in found.charges):
            return None
        copies = desk.book.may_start(ask.facts.array, record) if record.array_tasks else 1
        charges = tuple(
            replace(c, nodes=c.nodes * copies, est_w=c.est_w * copies, max_w=c.max_w * copies) for c in found.charges
        )
        share = max(desk.ledger.nodes[charge.zone].share_milli(ask.request.ask) for charge in charges)
        entry.charges = found.charges
        claim = replace(replace(ask.request, id=entry.key).claim(charges, desk.now(), share), copies=copies)
        return as_admitted(desk, entry, claim)

    def _stray(self, entry: Entry, record: JobRecord) -> None:
        """Free to start, but not ours to let start: submitted before we were there, let go past us, or not eligible."""
        ask = self._ask_anew(entry, record)
        if ask is not None and self._desk.acts_on(ask):
            self._to_queue(entry)

    def _leave(self, entry: Entry) -> None:
        """Not ours to hold. Who holds it is remembered: a hold of ours is taken off by the next pass."""
        if entry.state is not State.FREE:
            self._desk.book.move(entry, Event.FREE)

    def _to_queue(self, entry: Entry) -> None:
        """Into the queue; the next pass holds it in Slurm."""
        desk = self._desk
        entry.hold = HoldKind.POWER
        if entry.state is State.RUNNING:
            desk.book.move(entry, Event.REQUEUE)
        elif entry.state in CLAIMING:
            desk.book.move(entry, Event.UNBIND)
        else:
            desk.book.move(entry, Event.WAIT)

    # -- what it asks -------------------------------------------------------------------------------------------

    def _ask_anew(self, entry: Entry, record: JobRecord) -> Ask | None:
        """What the job asks for now; None (and the entry parked, or left alone) where that cannot be told."""
        desk = self._desk
        known = entry.ask
        if known is not None and not entry.dirty and not record.array_tasks and known.waits is None:
            entry.ask = under_law(known, desk.world)
            return entry.ask
        facts = replace(
            from_record(record), user_hold=entry.held_by_user, dependency=self.unmet(record.dependency)
        )
        if known is not None:
            facts = with_unseen(facts, known.facts)
        if known is not None and record.eligible_time is None:
            facts = replace(facts, begin=known.facts.begin)  # Slurm does not show it of a held job
        submitted = known.submitted if known is not None else record.submit_time
        found = interpret(facts, desk.world, entry.key, desk.now(), submitted)
        if entry.dirty:
            entry.dirty = False
            entry.refusals = entry.retry_at = 0
        if isinstance(found, Ask):
            entry.ask = found
            return found
        if isinstance(found, Reject):
            entry.verdict = found
            entry.hold = entry.hold or HoldKind.POWER
            if entry.state is not State.PARKED:
                desk.book.move(entry, Event.PARK)
        elif isinstance(found, Free):
            self._leave(entry)
        return None


def _admitted(found: AdmissionRecord | None, record: JobRecord) -> TypeGuard[AdmissionRecord]:
    """Whether the admission record is one for the job's next start."""
    return found is not None and found.standing is Standing.ADMIT and record.restarts <= found.restarts
