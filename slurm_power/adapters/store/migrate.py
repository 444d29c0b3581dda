"""Bring a database to the schema of this code, from any earlier one, with several processes at it at once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from slurm_power.adapters.store.engine import WRITE
from slurm_power.core.errors import StoreError

_log = logging.getLogger("slurm_power.store")

_LOCK_KEY = 0x706F776572
"""Any number, the same in all processes: the name of PostgreSQL's advisory lock."""
_LOCK_NAME = "slurm_power_schema"
_LOCK_WAIT_S = 25
"""Less than what the engine allows for an answer."""


def upgrade(engine: Engine, place: str, revision: str = "head") -> None:
    """Run the migrations that the database lacks, up to `revision`; one process at a time, the others wait.

    Raises StoreError if the database was written by a newer version of this product.
    """
    config = Config()
    config.set_main_option("script_location", "slurm_power.adapters.store:migrations")
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    with engine.execution_options(**WRITE).begin() as connection, _locked(connection, place):
        heads = set(MigrationContext.configure(connection).get_current_heads())
        known = {script.revision for script in scripts.walk_revisions()}
        if unknown := heads - known:
            raise StoreError(
                f"{place}: the database has schema {', '.join(sorted(unknown))}, which is newer than this version "
                f"of slurm-power knows ({scripts.get_current_head()}); install the version that wrote it or a later one"
            )
        if heads != set(scripts.get_heads()):
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            _log.info("%s: schema brought from %s to %s", place, ", ".join(sorted(heads)) or "nothing", revision)


@contextmanager
def _locked(connection: Connection, place: str) -> Iterator[None]:
    """Keep other processes out. SQLite needs nothing more: BEGIN IMMEDIATE has locked its file already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        yield
    elif connection.dialect.name in ("mariadb", "mysql"):
        # Each DDL statement of MariaDB commits, so the lock belongs to the session and not to the transaction.
        taken = connection.scalar(text("SELECT GET_LOCK(:name, :wait)"), {"name": _LOCK_NAME, "wait": _LOCK_WAIT_S})
        if taken != 1:
            raise StoreError(f"{place}: another process has been changing the schema for {_LOCK_WAIT_S} s; try again")
        try:
            yield
        finally:
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK_NAME})
    else:
        yield
