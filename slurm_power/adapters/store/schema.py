"""The tables as the newest migration leaves them, and the column types that work alike on all three databases."""

import json
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Dialect, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""A key that counts up by itself; SQLite does that for the type INTEGER only."""

_MARIADB = ("mariadb", "mysql")
_ODD = re.compile("[\\\\\x00\ud800-\udfff]")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")


class AnyText(TypeDecorator[str]):
    r"""Text with whatever a job's name may hold, told apart to the last byte.

    PostgreSQL refuses NUL, and every driver refuses the surrogates that stand for bytes that are not UTF-8:
    they and the backslash itself are stored as `\uXXXX`. MariaDB would hold `a` and `A` for equal: its columns get
    the binary collation.
    """

    impl = Text
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__()
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A bounded or an unbounded text of this database."""
        if dialect.name in _MARIADB:
            words = {"charset": "utf8mb4", "collation": "utf8mb4_bin"}
            bounded = self.length is not None
            return dialect.type_descriptor(mysql.VARCHAR(self.length, **words) if bounded else mysql.LONGTEXT(**words))
        return dialect.type_descriptor(String(self.length) if self.length is not None else Text())

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Escape on the way in."""
        return None if value is None else _ODD.sub(lambda match: f"\\u{ord(match[0]):04x}", value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> str | None:
        """Unescape on the way out."""
        return None if value is None else _ESCAPE.sub(lambda match: chr(int(match[1], 16)), value)


def to_json(value: object) -> str:
    """JSON as it is stored. Raises TypeError or ValueError for what JSON cannot say, NaN included."""
    return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))


def _plain(value: object) -> object:
    """The mappings that json itself does not know, as dictionaries."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


class AnyJson(TypeDecorator[Any]):
    """JSON, in each database's own type but MariaDB's: its check refuses strings that are not UTF-8 inside."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """JSON, or text on MariaDB, whose JSON is text with a check."""
        if dialect.name in _MARIADB:
            return dialect.type_descriptor(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"))
        return dialect.type_descriptor(JSON())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """To text where the column is text; else SQLAlchemy does it with the same function."""
        return to_json(value) if dialect.name in _MARIADB else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From text where the column is text."""
        return json.loads(value) if dialect.name in _MARIADB else value


BYTEWISE: Mapping[str, Any] = {"postgresql_ops": {"job": "varchar_pattern_ops"}}
"""For an index by which texts are found that begin alike: elsewhere than on PostgreSQL ours are bytewise anyway."""


def begin_of(column: str) -> dict[str, Any]:
    """For an index on a text of any length, of which MariaDB takes the first characters alone."""
    return {"mariadb_length": {column: 64}}


metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("token", AnyText(255), primary_key=True),
    Column("job_id", BigInteger),
    Column("uid", BigInteger, nullable=False),
    Column("account", AnyText(), nullable=False),
    Column("tier", AnyText(), nullable=False),
    Column("est_w", BigInteger, nullable=False),
    Column("max_w", BigInteger, nullable=False),
    Column("headroom_w", BigInteger, nullable=False),
    Column("correlation_group", AnyText(), nullable=False),
    Column("submitted_at", BigInteger, nullable=False),
    Column("hold", AnyText(16)),
    Column("detail", AnyJson, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("job", AnyText(255), nullable=False),
    Column("token", AnyText(255), nullable=False),
    Column("uid", BigInteger, nullable=False),
    Column("account", AnyText(), nullable=False),
    Column("action", AnyText(), nullable=False),
    Column("mode", AnyText(), nullable=False),
    Column("zones", AnyJson, nullable=False),
    Column("reasons", AnyJson, nullable=False),
    Column("reservation", AnyText(255), nullable=False, server_default=""),
    Column("actor", BigInteger),
    Column("cause", AnyText(), nullable=False, server_default=""),
    Column("rule", AnyText(), nullable=False, server_default=""),
    Column("numbers", AnyJson, nullable=False, server_default="{}"),
    Index("ix_decisions_at", "at"),
    Index("ix_decisions_name", "job", "at", **BYTEWISE),
    Index("ix_decisions_uid", "uid", "at"),
    Index("ix_decisions_token", "token"),
    Index("ix_decisions_account", "account", "at", **begin_of("account")),
    Index("ix_decisions_action", "action", "at", **begin_of("action")),
    Index("ix_decisions_reservation", "reservation", "at"),
)

intents = Table(
    "intents",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("target", AnyText(), nullable=False),
    Column("action", AnyText(), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("detail", AnyJson, nullable=False),
    Column("pending", Boolean, nullable=False),
    Column("result", AnyText()),
    Index("ix_intents_pending", "pending"),
    Index("ix_intents_age", "pending", "at"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", AnyText(64), primary_key=True),
    Column("name", AnyText(255), nullable=False),
    Column("live_name", AnyText(255)),
    Column("state", AnyText(32), nullable=False),
    Column("start_at", BigInteger, nullable=False),
    Column("end_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("detail", AnyJson, nullable=False),
    Index("ix_reservations_live_name", "live_name", unique=True),
)
"""`live_name` is the name of a live reservation and NULL for others, so that the database itself refuses a second live
one of that name; an index over a part of the rows would do so too, but not on MariaDB.
"""

usage = Table(
    "usage",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("reservation", AnyText(64), primary_key=True),
    Column("account", AnyText(255), primary_key=True),
    Column("uid", BigInteger, primary_key=True, autoincrement=False),
    Column("tier", AnyText(64), primary_key=True),
    Column("reserved_ws", BigInteger, nullable=False),
    Column("used_ws", BigInteger, nullable=False),
    Column("jobs_ws", BigInteger, nullable=False),
    Column("yielding_ws", BigInteger, nullable=False, server_default="0"),
    Column("ended_ws", BigInteger, nullable=False, server_default="0"),
    Column("off_ws", BigInteger, nullable=False, server_default="0"),
    Column("runs", BigInteger, nullable=False, server_default="0"),
    Column("missed", BigInteger, nullable=False, server_default="0"),
    Index("ix_usage_reservation", "reservation", "hour"),
    Index("ix_usage_account", "account", "hour"),
    Index("ix_usage_uid", "uid", "hour"),
)

months = Table(
    "months",
    metadata,
    Column("name", AnyText(16), primary_key=True),
    Column("start_at", BigInteger, nullable=False),
    Column("end_at", BigInteger, nullable=False),
    Column("tariffs", AnyJson, nullable=False),
    Column("totals", AnyJson, nullable=False),
)
"""Closed months: one row each, written once, with all their totals in it."""

profiles = Table(
    "profiles",
    metadata,
    Column("id", AnyText(64), primary_key=True),
    Column("account", AnyText(), nullable=False),
    Column("name", AnyText(), nullable=False),
    Column("partition_name", AnyText(), nullable=False),
    Column("gpus", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("detail", AnyJson, nullable=False),
    Index("ix_profiles_seen_at", "seen_at"),
)
"""`id` is a digest of the key: names of jobs are too long for MariaDB's indexes."""

run_draws = Table(
    "run_draws",
    metadata,
    Column("key", AnyText(255), primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("detail", AnyJson, nullable=False),
)
"""What the runs that go on have drawn so far, by the key of their claim."""

settings = Table(
    "settings",
    metadata,
    Column("name", AnyText(255), primary_key=True),
    Column("value", AnyText(), nullable=False),
)
