"""Where Slurm's jobs differ from the book and the ledger: licences, bindings, holds and claims.

A job that was written to or heard of since the last whole snapshot was begun is left for the next one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from slurm_power.core.binding import MAX_REQUEST, PREFIX, feature_of, foreign_licences, our_licences
from slurm_power.core.claim import RESERVATION, Charge
from slurm_power.core.lifecycle import CLAIMING, State
from slurm_power.core.policy import Mode, Native
from slurm_power.core.queue import SHADOW
from slurm_power.core.record import AdmissionRecord, Standing, find_record
from slurm_power.ports import Chain, JobRecord, JobState, LicenseRecord, Update
from slurm_power.service.binding import Binding
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.finding import Finding, Kind
from slurm_power.service.launch import unholdable
from slurm_power.service.world import expand, nodes_of

_AT_ONCE = 100
"""Entries that are looked at before others get their turn."""
_ON_NODES = frozenset({JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING})
_HELD_STATES = frozenset({State.WAITING, State.PARKED})
_OURS = re.compile(rf"{PREFIX}[A-Za-z0-9_.-]+")


class JobDrift:
    """One look over the book. `licenses` are Slurm's: no job can hold more of one than its total."""

    def __init__(self, desk: Desk, licenses: Sequence[LicenseRecord]) -> None:
        self._desk = desk
        self._totals = {record.name: record.total for record in licenses}
        self._counts: dict[tuple[Charge, ...], Mapping[str, int]] = {}
        """What charges come to in licences; many jobs share theirs."""
        self._texts: dict[tuple[Charge, ...], str] = {}
        self._licensed = desk.site.policy.native is Native.LICENSES

    def look(self) -> Iterator[Finding | None]:
        """All findings, in no order; None where others may be answered."""
        book = self._desk.book
        for number, key in enumerate(list(book.entries)):
            if number % _AT_ONCE == 0:
                yield None
            entry = book.get(key)
            if entry is not None and entry.record is not None and entry.touched <= self._desk.seen:
                found = self._of(entry, entry.record)
                if found is not None:
                    yield found
        yield from self._orphans()

    def _of(self, entry: Entry, record: JobRecord) -> Finding | None:
        if record.state is JobState.PENDING:
            return self._hold(entry, record) or self._pending(entry, record)
        if record.state in _ON_NODES and entry.key not in self._desk.ledger.claims:
            return self._unclaimed(entry, record)
        if record.state is JobState.RUNNING and entry.state is State.RUNNING:
            return self._running(entry, record)
        return None

    # -- claims -------------------------------------------------------------------------------------------------

    def _unclaimed(self, entry: Entry, record: JobRecord) -> Finding | None:
        zones = self._desk.world.zones_of(nodes_of(record.node_list))
        if not zones or not self._desk.settled:
            return None
        found = f"on nodes of {','.join(sorted(zones))} without a claim"
        return Finding(Kind.JOB_UNCLAIMED, entry.name, found, "counted on its nodes", keys=(entry.key,))

    def _orphans(self) -> Iterator[Finding | None]:
        book, ledger = self._desk.book, self._desk.ledger
        for number, key in enumerate(list(ledger.claims)):
            if number % _AT_ONCE == 0:
                yield None
            entry, claim = book.get(key), ledger.claims.get(key)
            if claim is None or claim.reserves or claim.tentative or key.startswith((RESERVATION, SHADOW)):
                continue
            if entry is None or entry.state not in CLAIMING:
                found = f"a claim of {claim.est_w} W of no job that holds watts"
                yield Finding(Kind.CLAIM_ORPHAN, key, found, "taken out of the ledger", keys=(key,))

    # -- holds --------------------------------------------------------------------------------------------------

    def _hold(self, entry: Entry, record: JobRecord) -> Finding | None:
        enforce = self._desk.mode is Mode.ENFORCE
        if not record.held and entry.state in _HELD_STATES and enforce:
            found = "waits for watts and is free to start"
            return Finding(Kind.HOLD_LOST, entry.name, found, "held again", keys=(entry.key,))
        groundless = entry.state is State.FREE or (entry.state in _HELD_STATES and not enforce)
        if record.held and groundless and entry.held_by_us:
            found = "is held for power, and nothing of ours wants that"
            return Finding(Kind.HOLD_GROUNDLESS, entry.name, found, "our hold is taken off", keys=(entry.key,))
        return None

    # -- licences -----------------------------------------------------------------------------------------------

    def _running(self, entry: Entry, record: JobRecord) -> Finding | None:
        """Its licences against its claim; those of the admission will do where it got the nodes that it asked for."""
        if record.het_job_id is None and record.licenses == self._text(self._desk.ledger.claims[entry.key].charges):
            return None  # as nearly all are, told without reading any of it
        admitted = _admission(record)
        if record.het_offset or not self._licensed or not self._ours(entry, admitted):
            return None
        parts = self._desk.book.together(entry)
        claims = [self._desk.ledger.claims[part.key] for part in parts if part.key in self._desk.ledger.claims]
        charges = tuple(charge for claim in claims for charge in claim.charges)
        held, wanted = our_licences(record.licenses), self._wanted(charges)
        if held == wanted or (len(parts) == 1 and admitted and self._as_admitted(held, admitted, charges)):
            return None
        kind = Kind.RUNNING_LICENCES if admitted is not None else Kind.RUNNING_UNADMITTED
        chain = _licensing(record, wanted)
        return _licence_finding(kind, entry, held, wanted, chain)

    def _text(self, charges: tuple[Charge, ...]) -> str:
        """The licences of a job with these charges and none of its own, as it is bound with them."""
        text = self._texts.get(charges)
        if text is None:
            text = self._texts[charges] = ",".join(f"{name}:{count}" for name, count in self._wanted(charges).items())
        return text

    def _ours(self, entry: Entry, admitted: AdmissionRecord | None) -> bool:
        """Whether it is to have licences: it was admitted, or would be if it came now, and Slurm lets us change it."""
        if unholdable(entry):
            return False
        return admitted is not None or (entry.ask is not None and self._desk.acts_on(entry.ask))

    def _as_admitted(
        self, held: Mapping[str, int], admitted: AdmissionRecord, charges: Sequence[Charge]
    ) -> bool:
        nodes = {charge.zone: charge.nodes for charge in charges}
        same = nodes == {charge.zone: charge.nodes for charge in admitted.charges}
        return same and held == self._wanted(admitted.charges)

    def _wanted(self, charges: tuple[Charge, ...]) -> Mapping[str, int]:
        """Licence → watts of it that a job with these charges has to hold, as far as Slurm can count them."""
        if charges not in self._counts:
            counts = self._desk.binder.counts([c for c in charges if c.zone in self._desk.ledger.nodes])
            capped = {name: min(count, self._totals.get(name, count)) for name, count in counts.items()}
            self._counts[charges] = {name: count for name, count in capped.items() if count}
        return self._counts[charges]

    # -- what has not started -----------------------------------------------------------------------------------

    def _pending(self, entry: Entry, record: JobRecord) -> Finding | None:
        """An admitted job's licences and zones against its record: with others it would start past its admission."""
        admitted = _admission(record)
        if entry.state is not State.ADMITTED or record.held or admitted is None or not entry.charges:
            return None
        parts = self._desk.book.together(entry)
        charges = tuple(c for part in parts for c in part.charges) if parts[0] is entry else ()
        held, wanted = our_licences(record.licenses), self._wanted(charges)
        if self._licensed and held != wanted:
            return _licence_finding(Kind.PENDING_LICENCES, entry, held, wanted, self._bound(entry, record, charges))
        if not self._bound_to_its_zones(entry, record, admitted):
            zones = ",".join(charge.zone for charge in entry.charges)
            found = f"is admitted to {zones} and may start elsewhere: its features are '{record.features}'"
            chain = self._bound(entry, record, charges)
            return _finding(Kind.PENDING_BINDING, entry, found, f"bound to {zones} again", chain)
        return None

    def _bound_to_its_zones(self, entry: Entry, record: JobRecord, admitted: AdmissionRecord) -> bool:
        zones = {charge.zone for charge in entry.charges}
        if admitted.own_excluded is not None:
            where = self._desk.site.topology.zone_of_node
            return {node for node, zone in where.items() if zone not in zones} <= set(expand(record.excluded_nodes))
        if entry.ask is None or entry.ask.pinned:
            return True
        return set(_OURS.findall(record.features)) == {feature_of(zone) for zone in zones}

    def _bound(self, entry: Entry, record: JobRecord, counted: Sequence[Charge]) -> Chain:
        """The update that binds it again as it was admitted; nothing where Slurm's words cannot say it."""
        if entry.ask is None:
            return ()
        facts = replace(entry.ask.facts, admin_comment=record.admin_comment)
        claim = self._desk.ledger.claims.get(entry.key)
        within = claim.within if claim is not None else ""
        binding = self._desk.binder.bind(
            replace(entry.ask, facts=facts), entry.token, entry.charges, record.restarts, counted, within
        )
        if not isinstance(binding, Binding):
            return ()
        fields = {"Licenses": binding.licenses, "Features": binding.features}
        if binding.excluded_nodes is not None:
            fields["ExcNodeList"] = binding.excluded_nodes
        return (Update(record.target, fields),)


def _admission(record: JobRecord) -> AdmissionRecord | None:
    """The record under which the job starts, or has started."""
    found = find_record(record.admin_comment)
    valid = found is not None and found.standing is Standing.ADMIT and record.restarts <= found.restarts
    return found if valid else None


def _licensing(record: JobRecord, wanted: Mapping[str, int]) -> Chain:
    """The update that gives a job these licences of ours beside its own; nothing where Slurm takes no such request."""
    own = foreign_licences(record.licenses)
    text = ",".join([*filter(None, [own]), *(f"{name}:{count}" for name, count in wanted.items())])
    return () if len(text) > MAX_REQUEST or (wanted and "|" in own) else (Update(record.target, {"Licenses": text}),)


def _licence_finding(
    kind: Kind, entry: Entry, held: Mapping[str, int], wanted: Mapping[str, int], chain: Chain
) -> Finding:
    found = f"has {_told(held)}, and should have {_told(wanted)}"
    return _finding(kind, entry, found, "its licences are set", chain)


def _finding(kind: Kind, entry: Entry, found: str, remedy: str, chain: Chain) -> Finding:
    if not chain:
        return Finding(kind, entry.name, found, "Slurm cannot be told so; requeue it", mends=False, keys=(entry.key,))
    return Finding(kind, entry.name, found, remedy, chain=chain, keys=(entry.key,))


def _told(licences: Mapping[str, int]) -> str:
    return ", ".join(f"{name}:{count}" for name, count in licences.items()) or "no licence of ours"
