"""The live reservations, and what they keep in the ledger. Changes come from service/reserving.py."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from slurm_power.core.binding import reservation_of_nodes
from slurm_power.core.claim import RESERVATION
from slurm_power.core.ledger import Ledger
from slurm_power.core.reservation import Reservation, ReservationEvent, follow
from slurm_power.service.metering import Metering


class Reserved:
    """Reservations by name, in step with the ledger: a claim is kept there exactly in the states that keep one."""

    def __init__(self, ledger: Ledger, metering: Metering) -> None:
        self._ledger = ledger
        self._metering = metering
        self._by_name: dict[str, Reservation] = {}
        self._by_key: dict[str, Reservation] = {}

    def __iter__(self) -> Iterator[Reservation]:
        """In order of name."""
        return (self._by_name[name] for name in sorted(self._by_name))

    def get(self, name: str) -> Reservation | None:
        """The live reservation of that name."""
        return self._by_name.get(name)

    def of_claim(self, claim_id: str) -> Reservation | None:
        """The live reservation whose claim has that id."""
        return self._by_key.get(claim_id.removeprefix(RESERVATION))

    def put(self, reservation: Reservation) -> None:
        """Keep it as it now is, in the place of what bore its name; one that is over is forgotten.

        Raises KeyError where it was granted watts in a zone that there is not; then nothing has changed.
        """
        claim = reservation.claim() if reservation.live else None
        if claim is not None:
            self._ledger.keep(claim)
        before = self._by_name.pop(reservation.name, None)
        if before is not None:
            del self._by_key[before.key]
            if claim is None or claim.id != before.claim_id:
                self._ledger.unkeep(before.claim_id)
        if reservation.live:
            self._by_name[reservation.name] = self._by_key[reservation.key] = reservation
        self._metering.reserved(reservation, self._ledger.now)

    @contextmanager
    def also(self, before: Reservation) -> Iterator[None]:
        """Keep meanwhile what a reservation kept before its window was moved."""
        claim = before.claim()
        if claim is None:
            yield
            return
        besides = replace(claim, id=f"{claim.id}/before", group=f"{claim.group}/before")
        self._ledger.keep(besides)
        try:
            yield
        finally:
            self._ledger.unkeep(besides.id)

    def note(self, reservation: Reservation) -> None:
        """Keep what changes nothing in the ledger: when it was last used."""
        self._by_name[reservation.name] = self._by_key[reservation.key] = reservation

    def used_w(self, reservation: Reservation) -> dict[str, int]:
        """Zone → watts that jobs hold in it, in W."""
        return self._ledger.drawn_w(reservation.claim_id)

    def nodes_for(self, claim_id: str) -> str:
        """Slurm's reservation of the nodes that jobs with such a claim may use; empty where there are none."""
        reservation = self.of_claim(claim_id) if claim_id else None
        if reservation is None or not any(grant.nodes for grant in reservation.grants):
            return ""
        return reservation_of_nodes(reservation.name)

    def left_w(self, reservation: Reservation) -> dict[str, int]:
        """Zone → watts of what it was granted that no job holds, in W; none below 0."""
        return reservation.left_w(self.used_w(reservation))

    def move_to(self, ledger: Ledger, now: int) -> list[Reservation]:
        """Keep the same on another ledger. Returns those that cannot be kept: a zone of theirs is gone."""
        before = list(self)
        self._ledger, self._by_name, self._by_key = ledger, {}, {}
        return self.take_in(before, now)

    def take_in(self, reservations: Iterable[Reservation], now: int) -> list[Reservation]:
        """Keep these, nothing of them later than now. Returns those that cannot be kept, as in `move_to`."""
        missed = []
        for one in reservations:
            gone = sorted({grant.zone for grant in one.grants} - self._ledger.nodes.keys())
            if gone:
                cause = f"zone {gone[0]} is no longer in the site file"
                missed.append(after(one, ReservationEvent.MISS, now, cause))
                self._metering.reserved(missed[-1], now)
            else:
                used = one.last_used if one.last_used is None else min(one.last_used, now)
                self.put(replace(one, since=min(one.since, now), last_used=used))
        return missed


def after(reservation: Reservation, event: ReservationEvent, now: int, cause: str = "") -> Reservation:
    """The reservation after an event. Raises ValueError where it cannot happen to it."""
    return replace(reservation, state=follow(reservation.state, event), since=now, cause=cause)
