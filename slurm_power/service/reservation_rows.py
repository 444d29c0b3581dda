"""Reservations as the database keeps them."""

from pydantic import TypeAdapter, ValidationError

from slurm_power.core.errors import StoreError
from slurm_power.core.reservation import Reservation
from slurm_power.ports import StoredReservation

_ADAPTER = TypeAdapter(Reservation)


def to_row(reservation: Reservation) -> StoredReservation:
    """The row of a reservation; its detail is all of it."""
    window = reservation.terms.window
    return StoredReservation(
        id=reservation.id,
        name=reservation.name,
        state=reservation.state,
        live=reservation.live,
        start=window.start,
        end=window.end,
        created_at=reservation.created,
        updated_at=reservation.since,
        detail=_ADAPTER.dump_python(reservation, mode="json"),
    )


def from_row(row: StoredReservation) -> Reservation:
    """The reservation of a row. Raises StoreError for one that no version of ours has written."""
    try:
        return _ADAPTER.validate_python(dict(row.detail))
    except ValidationError as error:
        raise StoreError(f"reservation {row.name} cannot be read from the database: {error}") from None
