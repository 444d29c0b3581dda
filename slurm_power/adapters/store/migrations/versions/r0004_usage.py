"""What usage is judged and priced by, and the totals of closed months."""

import sqlalchemy as sa
from alembic import op

from slurm_power.adapters.store.schema import AnyJson, AnyText

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make columns and tables; on MariaDB a step that was cut short is run again, so what is there stays."""
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("usage")}
    for name in ("yielding_ws", "ended_ws", "off_ws", "runs", "missed"):
        if name not in there:
            op.add_column("usage", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "months",
        sa.Column("name", AnyText(16), primary_key=True),
        sa.Column("start_at", sa.BigInteger, nullable=False),
        sa.Column("end_at", sa.BigInteger, nullable=False),
        sa.Column("tariffs", AnyJson, nullable=False),
        sa.Column("totals", AnyJson, nullable=False),
        if_not_exists=True,
    )
