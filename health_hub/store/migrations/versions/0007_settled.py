"""Up to which time readers were told that they have seen everything: no commit may take a time up to it (settled.py)."""

from alembic import op

revision = "0007"
down_revision = "0006"

# A sequence is the one thing in PostgreSQL that all connections see at once and no transaction takes back. Both functions keep
# to one order: a reader moves the time and then takes a transaction number, a commit takes a number and then looks at the
# time. So a commit either sees the time, or has a number below the reader's, who waits for it.
_POSTGRESQL = (
    "CREATE SEQUENCE settled_time AS bigint MINVALUE 0 START WITH 0",
    # Not far beyond the database's own clock: one hub whose clock is years ahead would else take all others there for good.
    """CREATE FUNCTION settle_time(wanted bigint, OUT number bigint, OUT told bigint) LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        told := least(wanted, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000);
        PERFORM pg_advisory_xact_lock(hashtext('settled_time'));
        IF (SELECT last_value FROM settled_time) < told THEN
            PERFORM setval('settled_time', told);
        END IF;
        number := pg_current_xact_id()::text::bigint;
    END $$""",
    """CREATE FUNCTION settled_after(chosen bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        LOCK TABLE resource IN ROW EXCLUSIVE MODE;  -- by which a reader knows who writes resources
        PERFORM pg_current_xact_id();
        RETURN (SELECT last_value FROM settled_time WHERE last_value >= chosen);
    END $$""",
    """CREATE FUNCTION commit_number(chosen bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
    DECLARE
        late bigint := settled_after(chosen);
    BEGIN
        IF late IS NOT NULL THEN
            RAISE EXCEPTION 'settled until %', late;
        END IF;
        RETURN pg_current_xact_id()::text::bigint;
    END $$""",
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in _POSTGRESQL:
            op.execute(statement)
