"""Hand-written SQL of a projection, run inside its batch's transaction.

Rule: it reaches its own tables and nothing else, and it waits for nothing but its `db`.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import suppress
from types import coroutine
from typing import Any, Final, NamedTuple

from diptych.errors import DiptychError, ProgrammingError, StoreError
from diptych.store.placing import Placing
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, translate
from diptych.store.postgres.guard import Judge, Verdict, first_line
from diptych.store.postgres.sql_text import changing, outside
from diptych.store.postgres.statements import arguments, readers
from diptych.store.refusals import AWAITS_ELSE, ONLY_ROWS, UNDECIDABLE, not_own
from diptych.store.rows import quoted
from diptych.store.sql_text import refuse_several, refuse_unrepeatable, short, words
from diptych.store.tables import plain_name
from diptych.store.values import converted

_VERBS: Final = frozenset({"SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE"})


class _Call(NamedTuple):
    """What the script waits for, handed to whoever drives it."""

    db: "ScriptDb"
    sql: str
    parameters: Mapping[str, Any]


class ScriptDb:
    """The `Db` that hand-written SQL gets. It is only valid while its batch is written."""

    def __init__(self, projection: str) -> None:
        self._projection, self.is_open = projection, True

    async def execute(self, sql: str, **parameters: Any) -> None:
        """Write. INSERT needs ON CONFLICT, so that it may run twice."""
        await self._call(sql, parameters)

    async def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Read."""
        return await self._call(sql, parameters)

    @coroutine
    def _call(self, sql: str, parameters: Mapping[str, Any]) -> Generator[_Call, Any, list[tuple[Any, ...]]]:
        refuse_unrepeatable(sql)
        if not self.is_open:
            raise ProgrammingError(f"{self._projection}: db is only valid inside handle; it was used after it.")
        rows: list[tuple[Any, ...]] = yield _Call(self, sql, parameters)
        return rows


class Script:
    """One run of a projection's SQL, on the connection of its transaction."""

    def __init__(self, connection: Connection, judge: Judge, projection: str, placing: Placing) -> None:
        """`placing`: the tables of the generation that the batch is for, and no others."""
        self._connection, self._judge, self._projection, self._placing = connection, judge, projection, placing
        self._names = frozenset(table.name for table in placing.tables)
        self._trouble: DiptychError | None = None

    async def drive(self, script: Callable[[ScriptDb], Awaitable[None]], database: Database) -> None:
        """Run it to its end. :raises ProgrammingError: it awaited something else than its db.

        :raises StoreError: the database failed, whatever the script made of it: its transaction is gone.
        """
        await self._connection.execute(f"SET LOCAL search_path TO {quoted(database.schema)}")
        db = ScriptDb(self._projection)
        steps: Any = script(db).__await__()
        answer: Any = None
        failure: DiptychError | None = None
        try:
            while True:
                try:
                    asked = steps.send(answer) if failure is None else steps.throw(failure)
                except StopIteration:
                    break
                if not isinstance(asked, _Call) or asked.db is not db:
                    raise ProgrammingError(f"{self._projection}: {AWAITS_ELSE}")
                answer, failure = None, None
                try:
                    answer = await self._run(asked.sql, asked.parameters, database)
                except DiptychError as error:
                    failure = error
        finally:
            db.is_open = False
            if hasattr(steps, "close"):
                with suppress(BaseException):  # whatever it makes of being ended here
                    steps.close()
            if self._trouble is not None:
                raise self._trouble

    async def _run(self, sql: str, parameters: Mapping[str, Any], database: Database) -> list[tuple[Any, ...]]:
        if self._trouble is not None:
            raise self._trouble
        verdict = await self._allowed(sql)
        values = arguments(verdict, parameters)
        try:
            rows = await self._connection.fetch(verdict.text.sql, *values)
        except DRIVER_ERRORS as error:
            failure = translate(error, database)
            if not isinstance(failure, StoreError):
                failure = ProgrammingError(f"{self._projection}: {first_line(error)} In: {short(sql)}")
            self._trouble = failure
            raise failure from error
        found = readers(verdict, ())
        columns, converts = [column for column, _ in found], [convert for _, convert in found]
        return [tuple(map(converted, converts, row, columns)) for row in rows]

    async def _allowed(self, sql: str) -> Verdict:
        refuse_several(sql)
        found = words(sql) or ("nothing",)
        if found[0] not in _VERBS or ("INTO" in found and not {"INSERT", "MERGE"} & set(found)):
            raise ProgrammingError(f"{self._projection}: {ONLY_ROWS}")
        try:
            verdict = await self._judge.judge(self._placing.change(sql))
        except ProgrammingError as error:
            raise ProgrammingError(f"{self._projection}: {error} In: {short(sql)}") from error
        name = changing(sql, verdict.text.names)
        if name is not None:
            raise ProgrammingError(f"{self._projection}: {name} gives another answer the next time; {UNDECIDABLE}")
        touched = verdict.reads | verdict.writes
        other = min((touched - self._names) | verdict.foreign, default=None) or outside(verdict.text.names)
        if other is not None:
            verb = "change" if other in verdict.writes else "read"
            why = not_own(verb, plain_name(other), map(plain_name, self._names))
            raise ProgrammingError(f"{self._projection}: {why}")
        return verdict
