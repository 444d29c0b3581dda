"""The live reservations, and what they keep in the ledger. Changes come from service/reserving.py."""

from collections.abc import Iterator
from dataclasses import replace

from slurm_power.core.claim import RESERVATION
from slurm_power.core.ledger import Ledger
from slurm_power.core.reservation import Reservation, ReservationEvent, follow


class Reserved:
    """Reservations by name, in step with the ledger: a claim is kept there exactly in the states that keep one."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
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

    def note(self, reservation: Reservation) -> None:
        """Keep what changes nothing in the ledger: when it was last used."""
        self._by_name[reservation.name] = self._by_key[reservation.key] = reservation

    def used_w(self, reservation: Reservation) -> dict[str, int]:
        """Zone → watts that jobs hold in it, in W."""
        return self._ledger.drawn_w(reservation.claim_id)

    def left_w(self, reservation: Reservation) -> dict[str, int]:
        """Zone → watts of what it was granted that no job holds, in W; none below 0."""
        used = self.used_w(reservation)
        return {grant.zone: max(grant.watts_w - used.get(grant.zone, 0), 0) for grant in reservation.grants}

    def move_to(self, ledger: Ledger, now: int) -> list[Reservation]:
        """Keep the same on another ledger. Returns those that cannot be kept: a zone of theirs is gone."""
        before, missed = list(self), []
        self._ledger, self._by_name, self._by_key = ledger, {}, {}
        for reservation in before:
            lost = self.take(reservation, now)
            missed += [lost] if lost is not None else []
        return missed

    def take(self, reservation: Reservation, now: int) -> Reservation | None:
        """Keep one that was promised before; what becomes of it where a zone of it is gone, else None."""
        gone = sorted({grant.zone for grant in reservation.grants} - self._ledger.nodes.keys())
        if gone:
            return after(reservation, ReservationEvent.MISS, now, f"zone {gone[0]} is no longer in the site file")
        self.put(reservation)
        return None


def after(reservation: Reservation, event: ReservationEvent, now: int, cause: str = "") -> Reservation:
    """The reservation after an event. Raises ValueError where it cannot happen to it."""
    return replace(reservation, state=follow(reservation.state, event), since=now, cause=cause)
