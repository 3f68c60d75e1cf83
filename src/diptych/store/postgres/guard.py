"""What a statement of somebody else's hand would do, asked of PostgreSQL before it is run (R4).

A statement that is prepared inside a transaction locks every table it names, in the mode of what it does with it.
Rule: a statement is judged by these locks, never by parsing it; and by the few names that reach data without them.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import asyncpg

from diptych.errors import ProgrammingError
from diptych.store.postgres.connection import Connection
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.sql_text import Numbered, numbered
from diptych.store.rows import quoted
from diptych.store.sql_text import words
from diptych.store.tables import PLACED

_KNOWN: Final = 1000
_ROLES: Final = frozenset({"USER", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE"})
_READING: Final = "AccessShareLock"
_FUNCTIONS: Final = """
    SELECT DISTINCT proname FROM pg_catalog.pg_proc
    WHERE pronamespace = $1::text::pg_catalog.regnamespace AND proname = ANY($2::text[])
"""
_LOCKS: Final = """
    SELECT one.relname, space.nspname, held.mode
    FROM pg_catalog.pg_locks AS held
    JOIN pg_catalog.pg_class AS one ON one.oid = held.relation
    JOIN pg_catalog.pg_namespace AS space ON space.oid = one.relnamespace
    WHERE held.pid = pg_catalog.pg_backend_pid() AND held.locktype = 'relation' AND one.relkind <> 'i'
"""


def first_line(error: BaseException) -> str:
    """Return what PostgreSQL says is wrong, without its detail and hints."""
    return str(error).partition("\n")[0]


class GoneError(Exception):
    """A generation's table that the statement was placed on is not there (any more)."""


class Verdict(NamedTuple):
    """What PostgreSQL said of a statement. `reads` and `writes` are tables of the schema, as they are kept.

    `foreign` are any others, and the schema's functions, which reach the log.
    """

    text: Numbered
    reads: frozenset[str]
    writes: frozenset[str]
    foreign: frozenset[str]
    parameters: tuple[str, ...]  # the names of their types
    columns: tuple[tuple[str, str], ...]  # name and type of each


class Judge:
    """Asks once for each statement, on a connection of its own: the caller's transaction sees nothing of it."""

    def __init__(self, pool: Connections) -> None:
        """`pool` may be of one connection."""
        self._pool, self._schema = pool, pool.database.schema
        self._begin = f"BEGIN READ ONLY; SET LOCAL search_path TO {quoted(self._schema)}"
        self._known: dict[str, Verdict] = {}

    async def judge(self, sql: str) -> Verdict:
        """Say what it would do.

        :raises ProgrammingError: PostgreSQL does not take it; the message is PostgreSQL's. :raises GoneError:
        """
        known = self._known.get(sql)
        if known is not None:
            return known
        for word in _ROLES.intersection(words(sql)):
            name = word.lower()
            raise ProgrammingError(f'{name} is who is connected; if a table or column is meant, write "{name}"')
        text = numbered(sql)
        async with self._pool.connection() as connection:
            await connection.execute(self._begin)
            try:
                verdict = await self._ask(connection, text)
            except (asyncpg.SyntaxOrAccessError, asyncpg.FeatureNotSupportedError, asyncpg.DataError) as error:
                is_gone = isinstance(error, asyncpg.UndefinedTableError) and PLACED.search(first_line(error))
                kind = GoneError if is_gone else ProgrammingError
                raise kind(first_line(error)) from error  # the pool leaves the transaction
            await connection.execute("ROLLBACK")
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[sql] = verdict
        return verdict

    async def _ask(self, connection: Connection, text: Numbered) -> Verdict:
        before = await self._locks(connection)
        prepared = await connection.prepare(text.sql)
        after = await self._locks(connection)
        columns = tuple([(each.name, each.type.name) for each in prepared.get_attributes()])
        parameters = tuple([each.name if each.kind == "scalar" else "" for each in prepared.get_parameters()])
        new = {place: modes - before.get(place, set()) for place, modes in after.items()}
        touched = {place: modes for place, modes in new.items() if modes}
        ours = {name: modes for (name, space), modes in touched.items() if space == self._schema}
        foreign = {f"{space}.{name}" for name, space in touched if space != self._schema}
        foreign.update(f"{name}()" for (name,) in await connection.fetch(_FUNCTIONS, self._schema, list(text.names)))
        writes = frozenset(name for name, modes in ours.items() if modes != {_READING})
        return Verdict(text, frozenset(ours) - writes, writes, frozenset(foreign), parameters, columns)

    async def _locks(self, connection: Connection) -> Mapping[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = {}
        for name, space, mode in await connection.fetch(_LOCKS):
            found.setdefault((name, space), set()).add(mode)
        return found
