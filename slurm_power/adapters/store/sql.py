"""`ports.Store` over SQLAlchemy: one text for SQLite, PostgreSQL and MariaDB."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Unpack

from sqlalchemy import Connection, Engine, and_, delete, func, insert, select, update

from slurm_power.adapters.store import schema
from slurm_power.adapters.store.engine import WRITE, make_engine, place_of
from slurm_power.adapters.store.errors import told
from slurm_power.adapters.store.migrate import upgrade
from slurm_power.adapters.store.month_rows import month_row, to_month
from slurm_power.adapters.store.rows import (
    decision_row,
    intent_row,
    job_row,
    profile_row,
    reservation_row,
    to_decision,
    to_job,
    to_profile,
    to_reservation,
)
from slurm_power.adapters.store.statements import called, chunks, delete_oldest, newest, upsert
from slurm_power.core.showback import Month
from slurm_power.core.usage import SUMS
from slurm_power.ports import (
    USAGE_THROUGH,
    Decision,
    Intent,
    StoredDraw,
    StoredJob,
    StoredProfile,
    StoredReservation,
    Usage,
    Wanted,
)


def open_store(url: str, *, busy_s: float = 5.0) -> "SqlStore":
    """Open the database at a SQLAlchemy URL, make or migrate its schema.

    `busy_s`: how long, in seconds, to wait for another process's lock on a SQLite file.
    Raises StoreError: no access, no driver, a damaged file, a lock, a schema of a newer version.
    """
    place = place_of(url)
    engine = make_engine(url, busy_s)
    try:
        with told(place, "cannot open the state database"):
            upgrade(engine, place)
    except BaseException:  # also Ctrl-C: connections must not leak
        engine.dispose()
        raise
    return SqlStore(engine, place)


class SqlStore:
    """The database of promises. Safe to use from several threads; every write is durable when its method returns.

    Every method raises StoreError when the database fails, StoreDataError when the data can never be stored.
    """

    def __init__(self, engine: Engine, place: str) -> None:
        self._readers = engine
        self._writers = engine.execution_options(**WRITE)
        self._place = place

    def save_jobs(self, jobs: Sequence[StoredJob]) -> None:
        """Insert or replace by token; of two with one token the later wins."""
        rows = list({job.token: job_row(job) for job in jobs}.values())
        if rows:
            with self._write("cannot save jobs") as connection:
                connection.execute(upsert(schema.jobs, connection.dialect.name), rows)

    def drop_jobs(self, tokens: Sequence[str]) -> None:
        """Forget jobs; tokens that are not there do not matter."""
        if tokens:
            with self._write("cannot drop jobs") as connection:
                for chunk in chunks(tokens):
                    connection.execute(delete(schema.jobs).where(schema.jobs.c.token.in_(chunk)))

    def jobs(self) -> Sequence[StoredJob]:
        """All that is stored, by token."""
        with self._read("cannot read jobs") as connection:
            found = [to_job(row) for row in connection.execute(select(schema.jobs)).mappings()]
        # Sorted here, because each database has its own opinion on the order of texts.
        return sorted(found, key=lambda job: job.token)

    def record(self, decisions: Sequence[Decision]) -> None:
        """Append to the audit log: all of them or, on an error, none."""
        rows = [decision_row(decision) for decision in decisions]
        if rows:
            with self._write("cannot write the audit log") as connection:
                connection.execute(insert(schema.decisions), rows)

    def decisions(self, **wanted: Unpack[Wanted]) -> Sequence[Decision]:
        """The newest lines that match, oldest first; at one instant as they were written."""
        table, dialect = schema.decisions, self._readers.dialect.name
        with self._read("cannot read the audit log") as connection:
            tokens = list(wanted.get("tokens", ()))
            if "job" in wanted:
                query = select(table.c.token).where(called(wanted["job"], dialect)).distinct()
                tokens += connection.scalars(query)
            rows = connection.execute(newest(wanted, dialect, tokens)).mappings()
            found = [to_decision(row) for row in rows]
        return found[::-1]

    def names(self, tokens: Sequence[str]) -> Mapping[str, str]:
        """Token → how some line names its job: one of the names, where the tasks of an array have several."""
        table = schema.decisions
        found: dict[str, str] = {}
        with self._read("cannot read the audit log") as connection:
            for chunk in chunks(tokens):
                which = and_(table.c.token.in_(chunk), table.c.job != table.c.token)
                query = select(table.c.token, func.min(table.c.job)).where(which).group_by(table.c.token)
                found.update((token, job) for token, job in connection.execute(query))
        return found

    def prune(self, *, decisions: int, intents: int, limit: int, profiles: int = 0) -> int:
        """Delete the oldest `limit` decisions, closed intents and profiles from before these; the largest number."""
        log, acts, known = schema.decisions, schema.intents, schema.profiles
        closed = and_(acts.c.at < intents, acts.c.pending.is_(False))
        with self._write("cannot delete what is old") as connection:
            return max(
                delete_oldest(connection, log, log.c.at < decisions, log.c.at, limit),
                delete_oldest(connection, acts, closed, acts.c.at, limit),
                delete_oldest(connection, known, known.c.seen_at < profiles, known.c.seen_at, limit),
            )

    def open_intents(self, intents: Sequence[Intent]) -> Sequence[Intent]:
        """Make them durable, all or none; returns them with ids, in the same order."""
        if not intents:
            return []
        table = schema.intents
        statement = insert(table).returning(table.c.id, sort_by_parameter_order=True)
        with self._write("cannot write intents") as connection:
            ids = connection.execute(statement, [intent_row(intent) for intent in intents]).scalars().all()
        return [
            Intent(intent.target, intent.action, intent.at, intent.detail, id=new)
            for intent, new in zip(intents, ids, strict=True)
        ]

    def close_intents(self, ids: Sequence[int], result: str) -> None:
        """Mark as carried out or not; one that is closed already keeps its first result."""
        if not ids:
            return
        table = schema.intents
        with self._write("cannot close intents") as connection:
            for chunk in chunks(ids):
                which = and_(table.c.id.in_(chunk), table.c.pending)
                connection.execute(update(table).where(which).values(pending=False, result=result))

    def pending_intents(self) -> Sequence[Intent]:
        """Those that a crash left open, oldest first."""
        table = schema.intents
        query = select(table).where(table.c.pending).order_by(table.c.id)
        with self._read("cannot read intents") as connection:
            return [
                Intent(row["target"], row["action"], row["at"], row["detail"], id=row["id"])
                for row in connection.execute(query).mappings()
            ]

    def save_reservations(self, reservations: Sequence[StoredReservation]) -> None:
        """Insert or replace by id, all or none; of two with one id the later wins.

        Two live ones of a name are refused with StoreDataError.
        """
        # Not upsert: MariaDB's goes by whatever unique key is there, and would put one over another of its name. Those
        # that are no longer live go first, and leave their names to the others.
        rows = sorted({each.id: reservation_row(each) for each in reservations}.values(), key=_holds_name)
        table = schema.reservations
        with self._write("cannot save reservations") as connection:
            for row in rows:
                if not connection.execute(update(table).where(table.c.id == row["id"]).values(row)).rowcount:
                    connection.execute(insert(table), row)

    def reservations(self, live_only: bool) -> Sequence[StoredReservation]:
        """The live ones, or all that there ever were, by name, then start and id."""
        table = schema.reservations
        query = select(table).where(table.c.live_name.is_not(None)) if live_only else select(table)
        with self._read("cannot read reservations") as connection:
            found = [to_reservation(row) for row in connection.execute(query).mappings()]
        return sorted(found, key=lambda each: (each.name, each.start, each.id))

    def add_usage(self, rows: Sequence[Usage], through: int) -> bool:
        """Add to what is stored and set `through`, in one transaction; False if it had come that far before."""
        table, settings = schema.usage, schema.settings
        with self._write("cannot write usage") as connection:
            before = connection.scalar(select(settings.c.value).where(settings.c.name == USAGE_THROUGH))
            if before is not None and int(before) >= through:
                return False
            dialect = connection.dialect.name
            if rows:
                connection.execute(upsert(table, dialect, added=SUMS), [asdict(row) for row in rows])
            connection.execute(upsert(settings, dialect), [{"name": USAGE_THROUGH, "value": str(through)}])
        return True

    def usage(
        self,
        *,
        since: int = 0,
        until: int | None = None,
        account: str | None = None,
        uid: int | None = None,
        reservation: str | None = None,
    ) -> Sequence[Usage]:
        """The rows of a window that match, by hour, reservation, account, uid and tier."""
        table = schema.usage
        matches = {"account": account, "uid": uid, "reservation": reservation}
        which = [table.c[name] == value for name, value in matches.items() if value is not None]
        which.append(table.c.hour >= since)
        if until is not None:
            which.append(table.c.hour < until)
        with self._read("cannot read usage") as connection:
            found = [Usage(**row) for row in connection.execute(select(table).where(and_(*which))).mappings()]
        return sorted(found, key=lambda row: (row.hour, row.reservation, row.account, row.uid, row.tier))

    def prune_usage(self, before: int, limit: int) -> int:
        """Delete the usage of the oldest `limit` hours that begin before this instant; the number of those hours."""
        table = schema.usage
        oldest = select(table.c.hour).where(table.c.hour < before).distinct().order_by(table.c.hour).limit(limit)
        with self._write("cannot delete old usage") as connection:
            hours = connection.execute(oldest).scalars().all()
            if hours:
                connection.execute(delete(table).where(table.c.hour <= hours[-1]))
        return len(hours)

    def close_month(self, month: Month) -> bool:
        """Keep its totals; False where the month is closed already."""
        table = schema.months
        with self._write("cannot close a month") as connection:
            if connection.scalar(select(table.c.name).where(table.c.name == month.name)) is not None:
                return False
            connection.execute(insert(table), month_row(month))
        return True

    def months(self) -> Sequence[Month]:
        """The closed months, by their beginning."""
        with self._read("cannot read closed months") as connection:
            found = [to_month(row) for row in connection.execute(select(schema.months)).mappings()]
        return sorted(found, key=lambda month: (month.window.start, month.name))

    def save_profiles(self, profiles: Sequence[StoredProfile]) -> None:
        """Insert or replace by key; of two with one key the later wins."""
        rows = list({row["id"]: row for row in map(profile_row, profiles)}.values())
        if rows:
            with self._write("cannot save profiles") as connection:
                connection.execute(upsert(schema.profiles, connection.dialect.name), rows)

    def profiles(self, limit: int) -> Sequence[StoredProfile]:
        """The `limit` that were seen last, oldest first."""
        table = schema.profiles
        newest_first = select(table).order_by(table.c.seen_at.desc(), table.c.id).limit(limit)
        with self._read("cannot read profiles") as connection:
            found = [to_profile(row) for row in connection.execute(newest_first).mappings()]
        return found[::-1]

    def replace_draws(self, draws: Sequence[StoredDraw]) -> None:
        """Keep these and no others, all or nothing."""
        rows = [{"key": draw.key, "since": draw.since, "detail": draw.detail} for draw in draws]
        with self._write("cannot save what runs have drawn") as connection:
            connection.execute(delete(schema.run_draws))
            if rows:
                connection.execute(insert(schema.run_draws), rows)

    def draws(self) -> Sequence[StoredDraw]:
        """All that are kept, by key."""
        with self._read("cannot read what runs have drawn") as connection:
            found = [StoredDraw(**row) for row in connection.execute(select(schema.run_draws)).mappings()]
        return sorted(found, key=lambda draw: draw.key)

    def setting(self, name: str) -> str | None:
        """A small named value; None if never set."""
        table = schema.settings
        with self._read("cannot read settings") as connection:
            value: str | None = connection.scalar(select(table.c.value).where(table.c.name == name))
        return value

    def set_setting(self, name: str, value: str | None) -> None:
        """Set it, or with None forget it."""
        table = schema.settings
        with self._write("cannot write settings") as connection:
            if value is None:
                connection.execute(delete(table).where(table.c.name == name))
            else:
                connection.execute(upsert(table, connection.dialect.name), [{"name": name, "value": value}])

    def close(self) -> None:
        """Release the database."""
        self._readers.dispose()

    @contextmanager
    def _read(self, doing: str) -> Iterator[Connection]:
        with told(self._place, doing), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def _write(self, doing: str) -> Iterator[Connection]:
        with told(self._place, doing), self._writers.begin() as connection:
            yield connection


def _holds_name(row: Mapping[str, Any]) -> bool:
    return row["live_name"] is not None
