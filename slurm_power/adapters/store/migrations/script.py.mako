"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Step forward; on MariaDB a step that was cut short is run again, so each must bear that."""
    ${upgrades if upgrades else "pass"}
