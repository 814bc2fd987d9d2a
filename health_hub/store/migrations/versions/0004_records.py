"""Records that are not FHIR: accounts, clients, sessions, grants, keys (store/records.py)."""

from alembic import op

revision = "0004"
down_revision = "0003"

SCRIPT = """
CREATE TABLE record (kind text NOT NULL, id {id} NOT NULL, version integer NOT NULL, expires bigint, data text NOT NULL,
  PRIMARY KEY (kind, id));
CREATE INDEX record_expires ON record (expires) WHERE expires IS NOT NULL;
CREATE TABLE record_ref (ref {id} NOT NULL, kind text NOT NULL, id {id} NOT NULL, PRIMARY KEY (ref, kind, id));
CREATE INDEX record_ref_record ON record_ref (kind, id);
"""


def upgrade() -> None:
    id = 'text COLLATE "C"' if op.get_bind().dialect.name == "postgresql" else "text"
    for statement in filter(str.strip, SCRIPT.format(id=id).split(";")):
        op.execute(statement)
