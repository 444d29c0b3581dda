"""Run by Alembic for each command; the connection, in its transaction, comes from `migrate.upgrade`."""

from alembic import context

from slurm_power.adapters.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
