"""Relationships that are lent: made by who had a Patient's record for a time only, until when they count."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE resource ADD COLUMN lent bigint")
