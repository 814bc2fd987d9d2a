"""Access: whose a resource is and about whom, treatment relationships, Consents as rules, the audit trail's journal."""

from alembic import op

revision = "0005"
down_revision = "0004"

COMMON = """
ALTER TABLE resource ADD COLUMN owner {id};
ALTER TABLE resource ADD COLUMN author {id};
ALTER TABLE resource ADD COLUMN sensitive bigint NOT NULL DEFAULT 0;
ALTER TABLE resource ADD COLUMN persons {persons};
CREATE TABLE relation (party bigint NOT NULL, person bigint NOT NULL, since bigint NOT NULL, until bigint NOT NULL, rid bigint NOT NULL);
CREATE INDEX relation_person ON relation (person, party, until);
CREATE INDEX relation_party ON relation (party, until, person);
CREATE INDEX relation_rid ON relation (rid);
CREATE TABLE consent (person bigint NOT NULL, since bigint NOT NULL, until bigint NOT NULL, kind smallint NOT NULL,
  rules text NOT NULL, rid bigint NOT NULL);
CREATE INDEX consent_person ON consent (person);
CREATE INDEX consent_rid ON consent (rid);
CREATE TABLE trail (chain bigint NOT NULL, n bigint NOT NULL, time bigint NOT NULL, data {bytes} NOT NULL, hash {bytes} NOT NULL,
  PRIMARY KEY (chain, n));
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        script = COMMON.format(id='text COLLATE "C"', bytes="bytea", persons="bigint[]")
    else:
        script = COMMON.format(id="text", bytes="blob", persons="text")
    for statement in filter(str.strip, script.split(";")):
        op.execute(statement)
