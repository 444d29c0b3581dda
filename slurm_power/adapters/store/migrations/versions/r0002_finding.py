"""Indexes to find one user's lines and a token's lines by, and intents by their age."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes; on MariaDB a step that was cut short is run again, so what is there already stays."""
    op.create_index("ix_decisions_uid", "decisions", ["uid", "at"], if_not_exists=True)
    op.create_index("ix_decisions_token", "decisions", ["token"], if_not_exists=True)
    op.create_index("ix_intents_age", "intents", ["pending", "at"], if_not_exists=True)
