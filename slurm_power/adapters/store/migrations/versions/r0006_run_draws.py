"""What the runs that go on have drawn."""

import sqlalchemy as sa
from alembic import op

from slurm_power.adapters.store.schema import AnyJson, AnyText

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "run_draws",
        sa.Column("key", AnyText(255), primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("detail", AnyJson, nullable=False),
        if_not_exists=True,
    )
