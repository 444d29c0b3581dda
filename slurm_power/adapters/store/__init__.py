"""The state database: SQLite by default, PostgreSQL or MariaDB by URL, and the thread that writes to it."""

from slurm_power.adapters.store.errors import StoreDataError
from slurm_power.adapters.store.sql import SqlStore, open_store
from slurm_power.adapters.store.writer import StoreWriter, WriterHealth

__all__ = ["SqlStore", "StoreDataError", "StoreWriter", "WriterHealth", "open_store"]
