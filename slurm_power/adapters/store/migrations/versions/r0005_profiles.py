"""What is learnt of the draw of jobs."""

import sqlalchemy as sa
from alembic import op

from slurm_power.adapters.store.schema import AnyJson, AnyText

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and its index; on MariaDB a step that was cut short is run again, so what is there stays."""
    op.create_table(
        "profiles",
        sa.Column("id", AnyText(64), primary_key=True),
        sa.Column("account", AnyText(), nullable=False),
        sa.Column("name", AnyText(), nullable=False),
        sa.Column("partition_name", AnyText(), nullable=False),
        sa.Column("gpus", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("detail", AnyJson, nullable=False),
        if_not_exists=True,
    )
    there = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("profiles")}
    if "ix_profiles_seen_at" not in there:
        op.create_index("ix_profiles_seen_at", "profiles", ["seen_at"])
