"""Statements in the words of each database: insert or replace, and which lines of the audit log are wanted."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Insert,
    Select,
    Table,
    Text,
    and_,
    cast,
    delete,
    func,
    or_,
    select,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from slurm_power.adapters.store import schema
from slurm_power.ports import LINES, PART_MARKS, Viewer, Wanted

T = TypeVar("T")

_CHUNK = 500
"""Values in one IN list: below every database's limit on parameters."""


def delete_oldest(
    connection: Connection, table: Table, which: ColumnElement[bool], age: Column[Any], limit: int
) -> int:
    """Delete so many of the oldest rows that match. By their ids: not every database can delete up to a limit."""
    ids = connection.execute(select(table.c.id).where(which).order_by(age).limit(limit)).scalars().all()
    for chunk in chunks(ids):
        connection.execute(delete(table).where(table.c.id.in_(chunk)))
    return len(ids)


def upsert(table: Table, dialect: str, added: Collection[str] = ()) -> Insert:
    """Insert, or where the key is there replace the rest, in the words of this database; to `added` columns, add.

    Not for a table with a second unique key: MariaDB would replace the row that has that one.
    """
    rest = [column for column in table.columns if not column.primary_key]
    if dialect in ("mariadb", "mysql"):
        ours = mysql.insert(table)
        return ours.on_duplicate_key_update(_changes(rest, ours.inserted, added))
    keys = list(table.primary_key.columns)
    if dialect == "postgresql":
        theirs = postgresql.insert(table)
        return theirs.on_conflict_do_update(index_elements=keys, set_=_changes(rest, theirs.excluded, added))
    lite = sqlite.insert(table)
    return lite.on_conflict_do_update(index_elements=keys, set_=_changes(rest, lite.excluded, added))


def _changes(
    columns: Sequence[Column[Any]], new: ReadOnlyColumnCollection[str, Any], added: Collection[str]
) -> dict[str, Any]:
    return {each.name: each + new[each.name] if each.name in added else new[each.name] for each in columns}


def chunks(values: Sequence[T]) -> Iterable[Sequence[T]]:
    """In pieces that one statement can take."""
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def newest(wanted: Wanted, dialect: str, tokens: Sequence[str]) -> Select[Any]:
    """The lines of the audit log that are wanted, newest first; `tokens` are those of the wanted job."""
    table = schema.decisions
    # The lines of one job are few: + 0 keeps SQLite from reading the whole log by its time in search of them.
    at = table.c.at + 0 if "job" in wanted else table.c.at
    found = [at >= wanted.get("since", 0)]
    if (until := wanted.get("until")) is not None:
        found.append(at < until)
    if "job" in wanted:
        nameless = and_(table.c.token.in_(tokens), table.c.job == table.c.token)
        found.append(or_(called(wanted["job"], dialect), nameless))
    for name in ("uid", "account", "reservation"):
        if (value := wanted.get(name)) is not None:
            found.append(table.c[name] == value)
    if "zone" in wanted:
        found.append(_about_zone(wanted["zone"], dialect))
    if actions := wanted.get("actions"):
        found.append(table.c.action.in_(actions))
    if wanted.get("of_jobs"):
        found.append(table.c.job != "")
    if (viewer := wanted.get("viewer")) is not None:
        found.append(_visible(viewer))
    newest_first = select(table).where(and_(*found)).order_by(at.desc(), table.c.id.desc())
    return newest_first.limit(wanted.get("limit", LINES))


def called(job: str, dialect: str) -> ColumnElement[bool]:
    """Lines about the job as people name it: about that name, and of a number its tasks and components too."""
    name = schema.decisions.c.job
    parts = [_begins(name, f"{job}{mark}", dialect) for mark in PART_MARKS] if job.isdecimal() else []
    return or_(name == job, *parts)


def _begins(column: Column[str], prefix: str, dialect: str) -> ColumnElement[bool]:
    """Whether the text begins so, in words that an index serves. PostgreSQL has operators of their own for bytes."""
    least, most = ("~>=~", "~<~") if dialect == "postgresql" else (">=", "<")
    behind = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return and_(column.bool_op(least)(prefix), column.bool_op(most)(behind))


def _about_zone(zone: str, dialect: str) -> ColumnElement[bool]:
    """Whether the zone is in a line's list or the subject of a reason, looked for in the text of their JSON.

    Neither a table of lines and zones beside this one nor a copy of the list for LIKE: each job writes several lines,
    few ever ask by zone, and who does means a window of time, which has its index. So nothing is written twice, lines
    of an old database are found too, and no line can be pruned without its zones. A quote within a text has a backslash
    before it in JSON, so that none looks like a name. Not LIKE: SQLite's tells no case.
    """
    table, name = schema.decisions, schema.to_json(zone)
    return or_(_holds(table.c.zones, name, dialect), _holds(table.c.reasons, f'"subject":{name}', dialect))


def _holds(column: Column[Any], part: str, dialect: str) -> ColumnElement[bool]:
    place = func.strpos(cast(column, Text), part) if dialect == "postgresql" else func.instr(column, part)
    return place > 0


def _visible(viewer: Viewer) -> ColumnElement[bool]:
    """`Viewer.may_see`, in SQL."""
    table = schema.decisions
    of_no_job = and_(table.c.job == "", table.c.account.in_(viewer.accounts))
    return or_(table.c.uid == viewer.uid, of_no_job, *(() if viewer.private else (table.c.job != "",)))
