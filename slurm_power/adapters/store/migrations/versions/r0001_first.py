"""The first schema: jobs, decisions, intents, settings."""

import sqlalchemy as sa
from alembic import op

from slurm_power.adapters.store.schema import AnyJson, AnyText, BigId

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; on MariaDB a step that was cut short is run again, so what is there already stays."""
    op.create_table(
        "jobs",
        sa.Column("token", AnyText(255), primary_key=True),
        sa.Column("job_id", sa.BigInteger),
        sa.Column("uid", sa.BigInteger, nullable=False),
        sa.Column("account", AnyText(), nullable=False),
        sa.Column("tier", AnyText(), nullable=False),
        sa.Column("est_w", sa.BigInteger, nullable=False),
        sa.Column("max_w", sa.BigInteger, nullable=False),
        sa.Column("headroom_w", sa.BigInteger, nullable=False),
        sa.Column("correlation_group", AnyText(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger, nullable=False),
        sa.Column("hold", AnyText(16)),
        sa.Column("detail", AnyJson, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "decisions",
        sa.Column("id", BigId, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("job", AnyText(255), nullable=False),
        sa.Column("token", AnyText(255), nullable=False),
        sa.Column("uid", sa.BigInteger, nullable=False),
        sa.Column("account", AnyText(), nullable=False),
        sa.Column("action", AnyText(), nullable=False),
        sa.Column("mode", AnyText(), nullable=False),
        sa.Column("zones", AnyJson, nullable=False),
        sa.Column("reasons", AnyJson, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "intents",
        sa.Column("id", BigId, primary_key=True, autoincrement=True),
        sa.Column("target", AnyText(), nullable=False),
        sa.Column("action", AnyText(), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("detail", AnyJson, nullable=False),
        sa.Column("pending", sa.Boolean, nullable=False),
        sa.Column("result", AnyText()),
        if_not_exists=True,
    )
    op.create_table(
        "settings",
        sa.Column("name", AnyText(255), primary_key=True),
        sa.Column("value", AnyText(), nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_decisions_at", "decisions", ["at"], if_not_exists=True)
    op.create_index("ix_decisions_job", "decisions", ["job", "at"], if_not_exists=True)
    op.create_index("ix_intents_pending", "intents", ["pending"], if_not_exists=True)
