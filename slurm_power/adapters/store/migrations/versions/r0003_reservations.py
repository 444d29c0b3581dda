"""Reservations and usage; who, why and by which rule in the audit log, and indexes to find its lines by."""

import sqlalchemy as sa
from alembic import op

from slurm_power.adapters.store.schema import BYTEWISE, AnyJson, AnyText, begin_of

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make tables, columns and indexes; on MariaDB a step that was cut short is run again, so what is there stays."""
    op.create_table(
        "reservations",
        sa.Column("id", AnyText(64), primary_key=True),
        sa.Column("name", AnyText(255), nullable=False),
        sa.Column("live_name", AnyText(255)),
        sa.Column("state", AnyText(32), nullable=False),
        sa.Column("start_at", sa.BigInteger, nullable=False),
        sa.Column("end_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("detail", AnyJson, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_reservations_live_name", "reservations", ["live_name"], unique=True, if_not_exists=True)
    op.create_table(
        "usage",
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("reservation", AnyText(64), primary_key=True),
        sa.Column("account", AnyText(255), primary_key=True),
        sa.Column("uid", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tier", AnyText(64), primary_key=True),
        sa.Column("reserved_ws", sa.BigInteger, nullable=False),
        sa.Column("used_ws", sa.BigInteger, nullable=False),
        sa.Column("jobs_ws", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    for column in ("reservation", "account", "uid"):
        op.create_index(f"ix_usage_{column}", "usage", [column, "hour"], if_not_exists=True)
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("decisions")}
    for added in (
        sa.Column("reservation", AnyText(255), nullable=False, server_default=""),
        sa.Column("actor", sa.BigInteger),
        sa.Column("cause", AnyText(), nullable=False, server_default=""),
        sa.Column("rule", AnyText(), nullable=False, server_default=""),
        sa.Column("numbers", AnyJson, nullable=False, server_default="{}"),
    ):
        if added.name not in there:
            op.add_column("decisions", added)
    op.create_index("ix_decisions_name", "decisions", ["job", "at"], if_not_exists=True, **BYTEWISE)
    op.drop_index("ix_decisions_job", "decisions", if_exists=True)
    for text in ("account", "action"):
        op.create_index(f"ix_decisions_{text}", "decisions", [text, "at"], if_not_exists=True, **begin_of(text))
    op.create_index("ix_decisions_reservation", "decisions", ["reservation", "at"], if_not_exists=True)
