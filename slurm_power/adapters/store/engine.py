"""From the URL of the site file to a SQLAlchemy engine, with the settings that make each database keep its promises."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from slurm_power.adapters.store.errors import told
from slurm_power.adapters.store.schema import to_json
from slurm_power.core.errors import StoreError

_FORMS = (
    "sqlite:////var/lib/slurm_power/state.db, postgresql://user:password@host/slurm_power "
    "or mariadb://user:password@host/slurm_power"
)
_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mariadb": "mariadb+pymysql",
    "mysql": "mariadb+pymysql",
}
_EXTRAS = {"postgresql": "postgresql", "mariadb": "mariadb"}
_CONNECT_S = 5
_ANSWER_S = 30
WRITE = {"transaction": "IMMEDIATE"}
"""Execution options of an engine whose transactions write: SQLite then takes its lock at the start and waits for it.

A transaction that begins by reading and writes later is refused at once if somebody else has written in between.
"""


def place_of(url: str) -> str:
    """How messages name the database: the URL without its password."""
    return _parse(url).render_as_string(hide_password=True)


def make_engine(url: str, busy_s: float) -> Engine:
    """An engine for the URL; a SQLite file and its directory are made if missing.

    `busy_s`: how long to wait for another process's lock on a SQLite file. Raises StoreError.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, busy_s)
    name = parsed.drivername
    place = parsed.render_as_string(hide_password=True)
    try:
        return create_engine(
            parsed, json_serializer=to_json, pool_pre_ping=True, connect_args=_network_args(parsed)
        )
    except ImportError as error:
        extra = _EXTRAS.get(parsed.get_backend_name(), "")
        cure = f"install it: pip install 'slurm-power[{extra}]'" if extra else f"write {_FORMS}"
        raise StoreError(f"{place}: the Python driver of {name} is not installed ({error.name}); {cure}") from error
    except (exc.SQLAlchemyError, TypeError) as error:
        raise StoreError(f"{place}: {error}; write {_FORMS}") from error


def _parse(url: str) -> URL:
    """The URL with our choice of driver where it names none."""
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        # The URL itself is not repeated: a password may be in it.
        raise StoreError(f"state.url cannot be read as the URL of a database; write {_FORMS}") from error
    parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed.drivername.partition("+")[0] not in ("sqlite", *_EXTRAS):
        raise StoreError(f"state.url: '{parsed.drivername}' is none of the databases that we know; write {_FORMS}")
    return parsed


def _network_args(url: URL) -> dict[str, Any]:
    """Time-outs, so that a server that hangs is an error and not a silence; the URL's own query goes first.

    MariaDB is asked to refuse what does not fit, as the others do: some sites have it cut instead.
    """
    if url.get_backend_name() == "postgresql":
        defaults = {
            "connect_timeout": _CONNECT_S,
            "options": f"-c statement_timeout={_ANSWER_S}s",
            "tcp_user_timeout": _ANSWER_S * 1_000,
        }
    else:
        defaults = {
            "connect_timeout": _CONNECT_S,
            "read_timeout": _ANSWER_S,
            "write_timeout": _ANSWER_S,
            "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        }
    return {key: value for key, value in defaults.items() if key not in url.query}


def _sqlite_engine(url: URL, busy_s: float) -> Engine:
    """SQLite in WAL mode, every commit on disk before it returns."""
    if not url.database or url.database == ":memory:":
        raise StoreError("state.url: a database in memory keeps no promises; write sqlite:////var/lib/slurm_power/state.db")
    _prepare_file(Path(url.database))
    engine = create_engine(url, json_serializer=to_json, connect_args={"timeout": busy_s})
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _prepare_file(path: Path) -> None:
    """The file for our eyes only, whatever the umask; SQLite gives its WAL the same mode."""
    with told(str(path.parent), "cannot make the directory of the state database"):
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with told(str(path), "cannot open the state database"):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _on_sqlite_connect(connection: Any, _entry: ConnectionPoolEntry) -> None:
    """WAL, so that readers never wait for the writer; synchronous FULL, because an intent that a power cut undoes
    after Slurm was told is worse than none, and the writer thread's batches make the extra fsync cheap."""
    connection.isolation_level = None  # Python's driver would otherwise decide itself when a transaction begins.
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _on_sqlite_begin(connection: Connection) -> None:
    """Begin as the engine's options say."""
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('transaction', 'DEFERRED')}")
