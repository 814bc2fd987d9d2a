"""The tables, as SQLModel; migrations create them, hot statements go straight to the driver.

One row a resource with its document and its search keys (docs/architecture.md, "Storage"). `p` columns are
`keys.parameter(type, code)`, times are milliseconds or microseconds since 1970 UTC. On SQLite the keys stand in
table `key` as well, because it has no index on the members of an array.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

_Id = Text().with_variant(Text(collation="C"), "postgresql")
_Keys = LargeBinary().with_variant(ARRAY(BigInteger), "postgresql")
_Persons = Text().with_variant(ARRAY(BigInteger), "postgresql")
_Double: Any = Double()


class ResourceRow(SQLModel, table=True):
    """The current version of every resource; a deleted one keeps its row without document and keys."""

    __tablename__ = "resource"
    __table_args__ = (
        Index("resource_identity", "type", "id", unique=True),
        Index("resource_type", "type", "rid"),
        Index("resource_updated", "type", "updated", "rid"),
        Index("resource_time", "updated", "rid"),
        Index("resource_self", "self"),
        # For the later pages of sorted searches: what has changed since the first one. A create does not pay for it.
        Index("resource_changed", "seq", postgresql_where=text("version > 1"), sqlite_where=text("version > 1")),
        Index("resource_keys", "keys", postgresql_using="gin").ddl_if(dialect="postgresql"),
    )
    # INTEGER on SQLite: the row number itself, without an index of its own.
    rid: int = Field(sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False))
    type: int = Field(sa_column=Column(SmallInteger, nullable=False))
    id: str = Field(sa_column=Column(_Id, nullable=False))
    version: int = Field(sa_column=Column(Integer, nullable=False))
    updated: int = Field(sa_column=Column(BigInteger, nullable=False))  # ms
    deleted: bool = Field(sa_column=Column(Boolean, nullable=False))
    method: int = Field(sa_column=Column(SmallInteger, nullable=False))
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))  # the writing transaction
    self_: int = Field(sa_column=Column("self", BigInteger, nullable=False))
    blob: int | None = Field(sa_column=Column(BigInteger, nullable=True))
    doc: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))
    keys: bytes | None = Field(sa_column=Column(_Keys, nullable=True))
    # Access: the facility it belongs to (NULL: the province), who made it, labels.BITS, the Patients it is about (SQLite: JSON).
    owner: str | None = Field(sa_column=Column(_Id, nullable=True))
    author: str | None = Field(sa_column=Column(_Id, nullable=True))
    sensitive: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    persons: str | None = Field(sa_column=Column(_Persons, nullable=True))
    # Until when (ms) relationships that it makes count, as relations.lent; NULL: no bound, as who made it had none.
    lent: int | None = Field(sa_column=Column(BigInteger, nullable=True))


class RelationRow(SQLModel, table=True):
    """Treatment relationships that a current resource makes (fhir/relations.py), or that were granted (negative `rid`)."""

    __tablename__ = "relation"
    __table_args__ = (
        Index("relation_person", "person", "party", "until"),
        Index("relation_party", "party", "until", "person"),
        Index("relation_rid", "rid"),
    )
    __mapper_args__ = {"primary_key": ["rid", "party", "person"]}
    party: int = Field(sa_column=Column(BigInteger, nullable=False))
    person: int = Field(sa_column=Column(BigInteger, nullable=False))
    since: int = Field(sa_column=Column(BigInteger, nullable=False))  # ms
    until: int = Field(sa_column=Column(BigInteger, nullable=False))
    rid: int = Field(sa_column=Column(BigInteger, nullable=False))


class ConsentRow(SQLModel, table=True):
    """The rules of a Consent in force (fhir/consent.py), for each Patient it speaks of."""

    __tablename__ = "consent"
    __table_args__ = (Index("consent_person", "person"), Index("consent_rid", "rid"))
    __mapper_args__ = {"primary_key": ["rid", "person"]}
    person: int = Field(sa_column=Column(BigInteger, nullable=False))
    since: int = Field(sa_column=Column(BigInteger, nullable=False))
    until: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: int = Field(sa_column=Column(SmallInteger, nullable=False))  # consent.DENIES, PARTIAL
    rules: str = Field(sa_column=Column(Text, nullable=False))
    rid: int = Field(sa_column=Column(BigInteger, nullable=False))


class TrailRow(SQLModel, table=True):
    """The audit trail's journal: chains of hashes, append-only (trail.py)."""

    __tablename__ = "trail"
    __table_args__ = (PrimaryKeyConstraint("chain", "n"),)
    chain: int = Field(sa_column=Column(BigInteger, autoincrement=False))
    n: int = Field(sa_column=Column(BigInteger, autoincrement=False))
    time: int = Field(sa_column=Column(BigInteger, nullable=False))
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class HistoryRow(SQLModel, table=True):
    """Versions that were replaced or deleted."""

    __tablename__ = "history"
    __table_args__ = (
        PrimaryKeyConstraint("rid", "version"),
        Index("history_updated", "type", "updated", "rid", "version"),
        Index("history_time", "updated", "rid", "version"),
    )
    rid: int = Field(sa_column=Column(BigInteger, autoincrement=False))
    version: int = Field(sa_column=Column(Integer))
    type: int = Field(sa_column=Column(SmallInteger, nullable=False))
    id: str = Field(sa_column=Column(_Id, nullable=False))
    updated: int = Field(sa_column=Column(BigInteger, nullable=False))
    deleted: bool = Field(sa_column=Column(Boolean, nullable=False))
    method: int = Field(sa_column=Column(SmallInteger, nullable=False))
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    blob: int | None = Field(sa_column=Column(BigInteger, nullable=True))
    doc: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))


def _ordered(table: str, *by: str, wide: str | None = None) -> tuple[Index, ...]:
    """wide: condition of the index on the few rows that are no point (store/search/ranges.py)."""
    found = [Index(f"{table}_{c}", "p", *(["canon", c] if c == "clow" else [c]), "rid") for c in by]
    if wide is not None:
        where = text(wide)
        found.append(Index(f"{table}_wide", "p", "high", "low", "rid", postgresql_where=where, sqlite_where=where))
    return (*found, Index(f"{table}_rid", "rid", "p"))


class DateKey(SQLModel, table=True):
    """Date, dateTime, instant and Period values: microseconds, `high` inclusive."""

    __tablename__ = "date_key"
    __table_args__ = _ordered("date_key", "low", "high", wide="CAST(high - low > 86400000000 AS integer) = 1")
    __mapper_args__ = {"primary_key": ["rid", "p", "low", "high"]}
    p: int = Field(sa_column=Column(BigInteger, nullable=False))
    low: int = Field(sa_column=Column(BigInteger, nullable=False))
    high: int = Field(sa_column=Column(BigInteger, nullable=False))
    rid: int = Field(sa_column=Column(BigInteger, nullable=False))
    flags: int = Field(sa_column=Column(SmallInteger, nullable=False))


class NumberKey(SQLModel, table=True):
    __tablename__ = "number_key"
    __table_args__ = _ordered("number_key", "low", wide="CAST(high <> low AS integer) = 1")
    __mapper_args__ = {"primary_key": ["rid", "p", "low", "high"]}
    p: int = Field(sa_column=Column(BigInteger, nullable=False))
    low: float = Field(sa_column=Column(_Double, nullable=False))
    high: float = Field(sa_column=Column(_Double, nullable=False))
    rid: int = Field(sa_column=Column(BigInteger, nullable=False))
    flags: int = Field(sa_column=Column(SmallInteger, nullable=False))


class QuantityKey(SQLModel, table=True):
    """`low`, `high` as written; `clow`, `chigh` in the canonical UCUM unit whose hash is `canon`."""

    __tablename__ = "quantity_key"
    __table_args__ = _ordered("quantity_key", "low", "clow", wide="CAST(high <> low AS integer) = 1")
    __mapper_args__ = {"primary_key": ["rid", "p", "low", "high"]}
    p: int = Field(sa_column=Column(BigInteger, nullable=False))
    low: float = Field(sa_column=Column(_Double, nullable=False))
    high: float = Field(sa_column=Column(_Double, nullable=False))
    code: int = Field(sa_column=Column(BigInteger, nullable=False))
    unit: int = Field(sa_column=Column(BigInteger, nullable=False))
    canon: int = Field(sa_column=Column(BigInteger, nullable=False))
    clow: float = Field(sa_column=Column(_Double, nullable=False))
    chigh: float = Field(sa_column=Column(_Double, nullable=False))
    rid: int = Field(sa_column=Column(BigInteger, nullable=False))
    flags: int = Field(sa_column=Column(SmallInteger, nullable=False))


class StringKey(SQLModel, table=True):
    """Folded strings; the index holds the first 128 characters, because an index row has a limit."""

    __tablename__ = "string_key"
    __table_args__ = (
        Index("string_key_v", "p", text("substr(v, 1, 128)"), "rid"),
        Index("string_key_rid", "rid", "p"),
    )
    __mapper_args__ = {"primary_key": ["rid", "p", "v"]}
    p: int = Field(sa_column=Column(BigInteger, nullable=False))
    v: str = Field(sa_column=Column(_Id, nullable=False))
    rid: int = Field(sa_column=Column(BigInteger, nullable=False))
    flags: int = Field(sa_column=Column(SmallInteger, nullable=False))


class PositionKey(SQLModel, table=True):
    """Degrees, for the special parameter `near`."""

    __tablename__ = "position_key"
    __table_args__ = _ordered("position_key", "lat")
    __mapper_args__ = {"primary_key": ["rid", "p", "lat", "lon"]}
    p: int = Field(sa_column=Column(BigInteger, nullable=False))
    lat: float = Field(sa_column=Column(_Double, nullable=False))
    lon: float = Field(sa_column=Column(_Double, nullable=False))
    rid: int = Field(sa_column=Column(BigInteger, nullable=False))


class Blob(SQLModel, table=True):
    """Content of Binary resources in pieces; a blob no version names is swept at start."""

    __tablename__ = "blob"
    __table_args__ = (PrimaryKeyConstraint("blob", "n"),)
    blob: int = Field(sa_column=Column(BigInteger, autoincrement=False))
    n: int = Field(sa_column=Column(Integer))
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Setting(SQLModel, table=True):
    """What the workers of one hub share: secret of page tokens, fingerprint of the index, counters."""

    __tablename__ = "setting"
    name: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = Field(sa_column=Column(Text, nullable=False))


class Mark(SQLModel, table=True):
    """What a load has done, committed with its resources, so that a second run skips it."""

    __tablename__ = "mark"
    name: str = Field(sa_column=Column(_Id, primary_key=True))


class Job(SQLModel, table=True):
    """Long work asked for by `Prefer: respond-async`, reindexing and exports."""

    __tablename__ = "job"
    id: str = Field(sa_column=Column(Text, primary_key=True))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))  # running, done, failed, cancelled
    created: int = Field(sa_column=Column(BigInteger, nullable=False))
    updated: int = Field(sa_column=Column(BigInteger, nullable=False))
    progress: str = Field(sa_column=Column(Text, nullable=False))
    request: str = Field(sa_column=Column(Text, nullable=False))
    result: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))


class RecordRow(SQLModel, table=True):
    """Accounts, clients, sessions, grants, keys: small JSON objects (records.py)."""

    __tablename__ = "record"
    __table_args__ = (
        PrimaryKeyConstraint("kind", "id"),
        Index("record_expires", "expires", postgresql_where=text("expires IS NOT NULL"), sqlite_where=text("expires IS NOT NULL")),
    )
    kind: str = Field(sa_column=Column(Text))
    id: str = Field(sa_column=Column(_Id))
    version: int = Field(sa_column=Column(Integer, nullable=False))
    expires: int | None = Field(sa_column=Column(BigInteger, nullable=True))  # ms
    data: str = Field(sa_column=Column(Text, nullable=False))


class RecordRef(SQLModel, table=True):
    """What a record is found by besides its id."""

    __tablename__ = "record_ref"
    __table_args__ = (PrimaryKeyConstraint("ref", "kind", "id"), Index("record_ref_record", "kind", "id"))
    ref: str = Field(sa_column=Column(_Id))
    kind: str = Field(sa_column=Column(Text))
    id: str = Field(sa_column=Column(_Id))
