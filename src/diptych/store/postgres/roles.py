"""Who may do what in a schema: the statements that an administrator runs once, and after every upgrade.

Rule: printed, never run by Diptych itself. Nobody but the owner may create, alter or drop anything.
"""

from typing import Final, NamedTuple

from diptych.store.rows import quoted

_SCRIPT: Final = """\
-- Roles for the schema {schema}. Run it as an administrator in the database of the service, after `diptych db upgrade`,
-- and again after each upgrade of diptych: running it twice does no harm.
--   {owner} owns everything and runs `diptych db upgrade`; {writer} appends; {projector} keeps read models;
--   {reader} reads read models, and nothing else. A service that does several of these is a member of several roles:
--   CREATE ROLE shop LOGIN PASSWORD '...'; GRANT {writer}, {projector}, {reader} TO shop;

BEGIN;

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY[{names}] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
    END LOOP;
END $$;

CREATE SCHEMA IF NOT EXISTS {schema};
ALTER SCHEMA {schema} OWNER TO {owner};
REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {others};
GRANT USAGE ON SCHEMA {schema} TO {others};

-- What was there so far goes to the owner, and nobody else keeps a right to it.
DO $$
DECLARE
    thing record;
BEGIN
    FOR thing IN SELECT c.oid::regclass AS name FROM pg_class c
        WHERE c.relnamespace = '{plain}'::regnamespace AND c.relkind IN ('r', 'p', 'v') LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO {owner}', thing.name);
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, {others}', thing.name);
    END LOOP;
    FOR thing IN SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = '{plain}'::regnamespace LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO {owner}', thing.name);
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, {others}', thing.name);
    END LOOP;
END $$;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE ALL ON TABLES FROM PUBLIC;

-- The log: written by the writer, never changed; read by the projector.
GRANT SELECT ON {schema}.migrations, {schema}.event_store, {schema}.view_store, {schema}.projections,
    {schema}.projection_generations TO {writer}, {projector};
GRANT SELECT ON {schema}.events, {schema}.streams, {schema}.event_types TO {writer}, {projector};
GRANT INSERT ON {schema}.events, {schema}.event_types TO {writer};
GRANT INSERT, UPDATE ON {schema}.streams TO {writer};
GRANT SELECT, INSERT, DELETE ON {schema}.commands TO {writer};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {writer};

-- Read models: kept by the projector, which may also say which build of them is read; read by the reader. A build is
-- begun and dropped by the owner. Tables that are made later get the same rights as projection_checkpoints has.
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.projection_checkpoints, {schema}.parked_events, {schema}.workers
    TO {projector};
GRANT SELECT, INSERT, UPDATE ON {schema}.projection_requests, {schema}.alerts TO {projector};
GRANT UPDATE (swaps) ON {schema}.view_store TO {projector};
GRANT UPDATE (live, paused_until, pause_reason) ON {schema}.projections TO {projector};
GRANT UPDATE (is_kept, code, since) ON {schema}.projection_generations TO {projector};
GRANT SELECT ON {schema}.projection_checkpoints, {schema}.parked_events, {schema}.projections TO {reader};
GRANT SELECT (swaps) ON {schema}.view_store TO {reader};
DO $$
DECLARE
    thing record;
BEGIN
    FOR thing IN SELECT c.oid::regclass AS name, c.relkind AS kind
        FROM {schema}.projection_generations g CROSS JOIN unnest(g.tables) AS plain
        JOIN pg_class c ON c.relnamespace = '{plain}'::regnamespace AND (
            (c.relkind = 'r' AND c.relname = plain || '__g' || g.generation) OR (c.relkind = 'v' AND c.relname = plain))
    LOOP
        IF thing.kind = 'r' THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO {projector}', thing.name);
        END IF;
        EXECUTE format('GRANT SELECT ON %s TO {projector}, {reader}', thing.name);
    END LOOP;
END $$;

COMMIT;
"""


class Roles(NamedTuple):
    """The names of the four roles."""

    owner: str
    writer: str
    projector: str
    reader: str


def roles_of(schema: str, **named: str | None) -> Roles:
    """The roles of a schema, `shop_writer` and so on where no other name is given."""
    return Roles(**{name: named.get(name) or f"{schema}_{name}" for name in Roles._fields})


def grants(schema: str, roles: Roles) -> str:
    """Return the script. :raises ValueError: a name is none."""
    by_name = {name: quoted(role) for name, role in roles._asdict().items()}
    names = ", ".join(f"'{role}'" for role in roles)
    others = ", ".join(by_name[name] for name in ("writer", "projector", "reader"))
    return _SCRIPT.format(schema=quoted(schema), plain=schema, names=names, others=others, **by_name)
