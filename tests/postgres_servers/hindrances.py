"""What makes life hard for a writer, put into a database from outside: slow commits, injected failures, a forced pause.

Rule: only triggers; they change no row.
"""

from typing import Final

from tests.postgres import Server

_PAUSE: Final = 4242  # an advisory lock

_SLOW: Final = """
CREATE FUNCTION {schema}.commit_{table}_slowly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < {share} THEN PERFORM pg_sleep(random() * {seconds}); END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT OR UPDATE ON {schema}.{table} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION {schema}.commit_{table}_slowly();
"""

_FAILING: Final = """
CREATE FUNCTION {schema}.fail_{table}_at_times() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < {share} THEN
        RAISE EXCEPTION 'injected' USING ERRCODE = (ARRAY['40001', '40P01'])[1 + (random() < 0.5)::int];
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER failing AFTER INSERT OR UPDATE ON {schema}.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.fail_{table}_at_times();
CREATE CONSTRAINT TRIGGER failing_at_commit AFTER INSERT OR UPDATE ON {schema}.{table} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION {schema}.fail_{table}_at_times();
"""

_HELD: Final = """
CREATE SEQUENCE {schema}.inserts;
CREATE FUNCTION {schema}.hold_the_first() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('{schema}.inserts') = 1 THEN PERFORM pg_advisory_xact_lock_shared({pause}); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER held AFTER INSERT ON {schema}.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.hold_the_first();
"""

TAKE_PAUSE: Final = f"SELECT pg_advisory_lock({_PAUSE})"
"""Whoever ran this holds the first insert until its session ends."""


def slow_commits(server: Server, schema: str, table: str = "events", *, share: float = 0.2) -> None:
    """Have this share of the written rows delay the commit, after all is written and before it is visible."""
    server.query(_SLOW.format(schema=schema, table=table, share=share, seconds=0.01))


def injected_failures(server: Server, schema: str, table: str = "events", *, share: float = 0.01) -> None:
    """Have this share of statements, and of commits for each row, end as serialization failures or deadlocks."""
    server.query(_FAILING.format(schema=schema, table=table, share=share))


def forced_pause(server: Server, schema: str) -> None:
    """Hold the first insert, its positions taken, for as long as somebody else has what `TAKE_PAUSE` takes."""
    server.query(_HELD.format(schema=schema, table="events", pause=_PAUSE))
