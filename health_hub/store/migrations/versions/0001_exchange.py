"""The exchange: resources, versions, search keys, blobs, jobs."""

from alembic import op

revision = "0001"
down_revision = None

COMMON = """
CREATE TABLE resource (rid {rid} NOT NULL PRIMARY KEY, type smallint NOT NULL,
  id {id} NOT NULL, version integer NOT NULL, updated bigint NOT NULL,
  deleted boolean NOT NULL, method smallint NOT NULL, seq bigint NOT NULL, self bigint NOT NULL, blob bigint, doc {bytes}, keys {keys});
CREATE UNIQUE INDEX resource_identity ON resource (type, id);
CREATE INDEX resource_updated ON resource (type, updated, rid);
CREATE INDEX resource_self ON resource (self);
CREATE TABLE history (rid bigint NOT NULL, version integer NOT NULL, type smallint NOT NULL, id {id} NOT NULL, updated bigint NOT NULL,
  deleted boolean NOT NULL, method smallint NOT NULL, seq bigint NOT NULL, blob bigint, doc {bytes}, PRIMARY KEY (rid, version));
CREATE INDEX history_updated ON history (type, updated, rid, version);
CREATE TABLE date_key (p bigint NOT NULL, low bigint NOT NULL, high bigint NOT NULL, rid bigint NOT NULL,
  flags smallint NOT NULL);
CREATE INDEX date_key_low ON date_key (p, low, rid);
CREATE INDEX date_key_high ON date_key (p, high, rid);
CREATE INDEX date_key_rid ON date_key (rid, p);
CREATE TABLE number_key (p bigint NOT NULL, low double precision NOT NULL, high double precision NOT NULL, rid bigint NOT NULL,
  flags smallint NOT NULL);
CREATE INDEX number_key_low ON number_key (p, low, rid);
CREATE INDEX number_key_rid ON number_key (rid, p);
CREATE TABLE quantity_key (p bigint NOT NULL, low double precision NOT NULL, high double precision NOT NULL,
  code bigint NOT NULL, unit bigint NOT NULL,
  canon bigint NOT NULL, clow double precision NOT NULL, chigh double precision NOT NULL, rid bigint NOT NULL,
  flags smallint NOT NULL);
CREATE INDEX quantity_key_low ON quantity_key (p, low, rid);
CREATE INDEX quantity_key_clow ON quantity_key (p, canon, clow, rid);
CREATE INDEX quantity_key_rid ON quantity_key (rid, p);
CREATE TABLE string_key (p bigint NOT NULL, v {id} NOT NULL, rid bigint NOT NULL,
  flags smallint NOT NULL);
CREATE INDEX string_key_v ON string_key (p, substr(v, 1, 128), rid);
CREATE INDEX string_key_rid ON string_key (rid, p);
CREATE TABLE position_key (p bigint NOT NULL, lat double precision NOT NULL, lon double precision NOT NULL, rid bigint NOT NULL);
CREATE INDEX position_key_lat ON position_key (p, lat, rid);
CREATE INDEX position_key_rid ON position_key (rid, p);
CREATE TABLE blob (blob bigint NOT NULL, n integer NOT NULL, data {bytes} NOT NULL, PRIMARY KEY (blob, n));
CREATE TABLE setting (name text NOT NULL PRIMARY KEY, value text NOT NULL);
CREATE TABLE mark (name {id} NOT NULL PRIMARY KEY);
CREATE TABLE job (id text NOT NULL PRIMARY KEY, kind text NOT NULL, state text NOT NULL, created bigint NOT NULL, updated bigint NOT NULL,
  progress text NOT NULL, request text NOT NULL, result {bytes});
"""
POSTGRESQL = """
CREATE SEQUENCE resource_rid AS bigint INCREMENT BY 1000 START WITH 1000;
CREATE INDEX resource_keys ON resource USING gin (keys) WITH (fastupdate = on, gin_pending_list_limit = 512);
ALTER TABLE blob ALTER COLUMN data SET STORAGE EXTERNAL;
"""
SQLITE = """
CREATE TABLE key (key bigint NOT NULL, rid bigint NOT NULL, PRIMARY KEY (key, rid)) WITHOUT ROWID;
INSERT INTO setting VALUES ('seq', '0');
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        script = COMMON.format(rid="bigint", id='text COLLATE "C"', bytes="bytea", keys="bigint[]") + POSTGRESQL
    else:
        script = COMMON.format(rid="integer", id="text", bytes="blob", keys="blob") + SQLITE
    for statement in filter(str.strip, script.split(";")):
        op.execute(statement)
