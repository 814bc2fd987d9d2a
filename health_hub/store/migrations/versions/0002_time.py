"""Indexes: a type in order of creation, the history of everything, the later pages of sorted searches."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("CREATE INDEX resource_type ON resource (type, rid)")
    op.execute("CREATE INDEX resource_time ON resource (updated, rid)")
    op.execute("CREATE INDEX history_time ON history (updated, rid, version)")
    op.execute("CREATE INDEX resource_changed ON resource (seq) WHERE version > 1")
