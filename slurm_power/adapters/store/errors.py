"""What databases and their drivers raise, told in our own words."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from slurm_power.core.errors import StoreError

_HINTS = (
    ("file is not a database", "the file is no SQLite database or is damaged; restore a copy or move it away"),
    ("malformed", "the file is damaged; restore a copy or move it away"),
    ("database is locked", "another process has kept it locked for longer than we wait"),
    ("readonly database", "its file or directory may not be written by this user"),
    ("unable to open database file", "it is a directory, or this user may not read and write it"),
    ("database or disk is full", "make room on its file system"),
)


class StoreDataError(StoreError):
    """What was to be stored can never be stored (not JSON, out of range): to try again is useless."""


@contextmanager
def told(place: str, doing: str) -> Iterator[None]:
    """Turn the database's errors into StoreError that name `place` and what we were `doing`.

    Raises StoreDataError where the data are at fault, else StoreError.
    """
    try:
        yield
    except (exc.DataError, exc.IntegrityError) as error:
        raise StoreDataError(f"{place}: {doing}: {_reason(error)}") from error
    except exc.SQLAlchemyError as error:
        if isinstance(error, exc.StatementError) and not isinstance(error, exc.DBAPIError):
            raise StoreDataError(f"{place}: {doing}: {_reason(error)}") from error
        raise StoreError(f"{place}: {doing}: {_reason(error)}") from error
    except (TypeError, ValueError, OverflowError) as error:
        # Raised by the drivers themselves for values that they cannot bind.
        raise StoreDataError(f"{place}: {doing}: {error}") from error
    except OSError as error:
        raise StoreError(f"{place}: {doing}: {error.strerror or error}") from error


def _reason(error: exc.SQLAlchemyError) -> str:
    """The database's own words on one line, with what to do where we know it."""
    cause = error.orig if isinstance(error, exc.StatementError) and error.orig is not None else error
    text = " ".join(str(cause).split())[:500]
    hint = next((hint for fragment, hint in _HINTS if fragment in text), "")
    return f"{text} ({hint})" if hint else text
