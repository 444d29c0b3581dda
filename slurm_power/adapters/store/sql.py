"""`ports.Store` over SQLAlchemy: one text for SQLite, PostgreSQL and MariaDB."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Insert,
    RowMapping,
    Table,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite

from slurm_power.adapters.store import schema
from slurm_power.adapters.store.engine import WRITE, make_engine, place_of
from slurm_power.adapters.store.errors import told
from slurm_power.adapters.store.migrate import upgrade
from slurm_power.ports import Decision, HoldKind, Intent, StoredJob

T = TypeVar("T")

_CHUNK = 500
"""Values in one IN list: below every database's limit on parameters."""


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
        rows = list({job.token: _job_row(job) for job in jobs}.values())
        if rows:
            with self._write("cannot save jobs") as connection:
                connection.execute(_upsert(schema.jobs, connection.dialect.name), rows)

    def drop_jobs(self, tokens: Sequence[str]) -> None:
        """Forget jobs; tokens that are not there do not matter."""
        if tokens:
            with self._write("cannot drop jobs") as connection:
                for chunk in _chunks(tokens):
                    connection.execute(delete(schema.jobs).where(schema.jobs.c.token.in_(chunk)))

    def jobs(self) -> Sequence[StoredJob]:
        """All that is stored, by token."""
        with self._read("cannot read jobs") as connection:
            found = [_to_job(row) for row in connection.execute(select(schema.jobs)).mappings()]
        # Sorted here, because each database has its own opinion on the order of texts.
        return sorted(found, key=lambda job: job.token)

    def record(self, decisions: Sequence[Decision]) -> None:
        """Append to the audit log: all of them or, on an error, none."""
        rows = [_decision_row(decision) for decision in decisions]
        if rows:
            with self._write("cannot write the audit log") as connection:
                connection.execute(insert(schema.decisions), rows)

    def decisions(
        self,
        *,
        job: str | None = None,
        uid: int | None = None,
        since: int = 0,
        until: int | None = None,
        limit: int = 1_000,
    ) -> Sequence[Decision]:
        """The newest `limit` lines with `since` ≤ at < `until`, oldest first; at one instant as they were written."""
        table = schema.decisions
        wanted = [table.c.at >= since]
        if until is not None:
            wanted.append(table.c.at < until)
        if job is not None:
            wanted.append(table.c.job == job)
        if uid is not None:
            wanted.append(table.c.uid == uid)
        query = select(table).where(and_(*wanted)).order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)
        with self._read("cannot read the audit log") as connection:
            found = [_to_decision(row) for row in connection.execute(query).mappings()]
        return found[::-1]

    def names(self, tokens: Sequence[str]) -> Mapping[str, str]:
        """Token → how some line names its job: one of the names, where the tasks of an array have several."""
        table = schema.decisions
        found: dict[str, str] = {}
        with self._read("cannot read the audit log") as connection:
            for chunk in _chunks(tokens):
                which = and_(table.c.token.in_(chunk), table.c.job != table.c.token)
                query = select(table.c.token, func.min(table.c.job)).where(which).group_by(table.c.token)
                found.update((token, job) for token, job in connection.execute(query))
        return found

    def prune(self, *, decisions: int, intents: int, limit: int) -> int:
        """Delete the oldest `limit` decisions, and closed intents, from before these instants; the larger number."""
        log, acts = schema.decisions, schema.intents
        with self._write("cannot delete what is old") as connection:
            return max(
                _delete_oldest(connection, log, log.c.at < decisions, limit),
                _delete_oldest(connection, acts, and_(acts.c.at < intents, acts.c.pending.is_(False)), limit),
            )

    def open_intents(self, intents: Sequence[Intent]) -> Sequence[Intent]:
        """Make them durable, all or none; returns them with ids, in the same order."""
        if not intents:
            return []
        table = schema.intents
        statement = insert(table).returning(table.c.id, sort_by_parameter_order=True)
        with self._write("cannot write intents") as connection:
            ids = connection.execute(statement, [_intent_row(intent) for intent in intents]).scalars().all()
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
            for chunk in _chunks(ids):
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
                connection.execute(_upsert(table, connection.dialect.name), [{"name": name, "value": value}])

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


def _delete_oldest(connection: Connection, table: Table, which: ColumnElement[bool], limit: int) -> int:
    """Delete so many of the oldest rows that match. By their ids: not every database can delete up to a limit."""
    ids = connection.execute(select(table.c.id).where(which).order_by(table.c.at).limit(limit)).scalars().all()
    for chunk in _chunks(ids):
        connection.execute(delete(table).where(table.c.id.in_(chunk)))
    return len(ids)


def _upsert(table: Table, dialect: str) -> Insert:
    """Insert or replace by primary key, in the words of this database."""
    rest = [column.name for column in table.columns if not column.primary_key]
    if dialect in ("mariadb", "mysql"):
        ours = mysql.insert(table)
        return ours.on_duplicate_key_update({name: ours.inserted[name] for name in rest})
    keys = list(table.primary_key.columns)
    if dialect == "postgresql":
        theirs = postgresql.insert(table)
        return theirs.on_conflict_do_update(index_elements=keys, set_={name: theirs.excluded[name] for name in rest})
    lite = sqlite.insert(table)
    return lite.on_conflict_do_update(index_elements=keys, set_={name: lite.excluded[name] for name in rest})


def _chunks(values: Sequence[T]) -> Iterable[Sequence[T]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def _job_row(job: StoredJob) -> dict[str, Any]:
    return {
        "token": job.token,
        "job_id": job.job_id,
        "uid": job.uid,
        "account": job.account,
        "tier": job.tier,
        "est_w": job.est_w,
        "max_w": job.max_w,
        "headroom_w": job.headroom_w,
        "correlation_group": job.group,
        "submitted_at": job.submitted_at,
        "hold": None if job.hold is None else job.hold.value,
        "detail": job.detail,
    }


def _to_job(row: RowMapping) -> StoredJob:
    return StoredJob(
        token=row["token"],
        job_id=row["job_id"],
        uid=row["uid"],
        account=row["account"],
        tier=row["tier"],
        est_w=row["est_w"],
        max_w=row["max_w"],
        headroom_w=row["headroom_w"],
        group=row["correlation_group"],
        submitted_at=row["submitted_at"],
        hold=None if row["hold"] is None else HoldKind(row["hold"]),
        detail=row["detail"],
    )


def _decision_row(decision: Decision) -> dict[str, Any]:
    return {
        "at": decision.at,
        "job": decision.job,
        "token": decision.token,
        "uid": decision.uid,
        "account": decision.account,
        "action": decision.action,
        "mode": decision.mode,
        "zones": list(decision.zones),
        "reasons": list(decision.reasons),
    }


def _to_decision(row: RowMapping) -> Decision:
    reasons: Sequence[Mapping[str, object]] = row["reasons"]
    return Decision(
        at=row["at"],
        job=row["job"],
        token=row["token"],
        uid=row["uid"],
        account=row["account"],
        action=row["action"],
        mode=row["mode"],
        zones=tuple(row["zones"]),
        reasons=tuple(reasons),
    )


def _intent_row(intent: Intent) -> dict[str, Any]:
    return {
        "target": intent.target,
        "action": intent.action,
        "at": intent.at,
        "detail": intent.detail,
        "pending": True,
    }
