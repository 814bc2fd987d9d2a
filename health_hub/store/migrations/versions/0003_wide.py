"""Indexes of the ordered values that are no point: a search between two bounds looks for them apart."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("CREATE INDEX date_key_wide ON date_key (p, high, low, rid) WHERE CAST(high - low > 86400000000 AS integer) = 1")
    op.execute("CREATE INDEX number_key_wide ON number_key (p, high, low, rid) WHERE CAST(high <> low AS integer) = 1")
    op.execute("CREATE INDEX quantity_key_wide ON quantity_key (p, high, low, rid) WHERE CAST(high <> low AS integer) = 1")
