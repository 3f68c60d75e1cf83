"""Hand-written SQL of a projection, run inside the writer's transaction.

Rule: it reaches its own tables and nothing else, and it waits for nothing but its `db`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import apsw

from diptych.errors import ProgrammingError, StoreError
from diptych.store.placing import Placing
from diptych.store.refusals import AWAITS_ELSE, ONLY_ROWS, UNDECIDABLE, not_own
from diptych.store.sql_text import refuse_several, refuse_unrepeatable, short, words
from diptych.store.sqlite.connection import translate
from diptych.store.tables import Bound, Column, Kind, Table, plain_name
from diptych.store.values import PLAIN

_PASSIVE: Final = frozenset({apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE})
_WRITES: Final = {apsw.SQLITE_INSERT: "insert into", apsw.SQLITE_UPDATE: "update", apsw.SQLITE_DELETE: "delete from"}
_VOLATILE: Final = frozenset({"random", "randomblob", "changes", "total_changes", "last_insert_rowid"})
_CLOCK: Final = frozenset({"current_time", "current_date", "current_timestamp"})
_OUTSIDE: Final = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})
VIEW: Final = re.compile(r"cannot modify (\w+) because it is a view")
_VERBS: Final = frozenset({"SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE"})
_FORBIDDEN: Final = _VOLATILE | _CLOCK | _OUTSIDE
JSON_TABLES: Final = frozenset({"json_each", "json_tree"})


def existing_tables(connection: apsw.Connection) -> frozenset[str]:
    """Return every name that stands for stored data or for SQLite's own tables, in all attached files."""
    files = [name for _, name, _ in connection.execute("PRAGMA database_list")]
    found = {"sqlite_schema", "sqlite_master", "sqlite_temp_schema", "sqlite_temp_master"}
    for file in files:
        found.update(name for (name,) in connection.execute(f'SELECT name FROM "{file}".sqlite_schema'))  # noqa: S608
    found.update(name for (name,) in connection.execute("PRAGMA module_list"))
    return frozenset(found)


class ScriptDb:
    """The `Db` that hand-written SQL gets. It is only valid while its batch is written."""

    def __init__(self, connection: apsw.Connection, projection: str, placing: Placing) -> None:
        self._connection, self._projection, self._placing = connection, projection, placing
        self._tables = list(placing.tables)
        self._names = frozenset(table.name for table in self._tables)
        self._plain = frozenset(map(plain_name, self._names))
        self._existing = existing_tables(connection)
        self._denied: str | None = None
        self._trouble: StoreError | None = None
        self._is_open = True

    async def execute(self, sql: str, **parameters: Any) -> None:
        """Write. INSERT needs ON CONFLICT, so that it may run twice."""
        refuse_unrepeatable(sql)
        self._run(sql, parameters)

    async def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Read."""
        refuse_unrepeatable(sql)
        return self._run(sql, parameters)

    def _run(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        if not self._is_open:
            raise ProgrammingError(f"{self._projection}: db is only valid inside handle; it was used after it.")
        if self._trouble is not None:
            raise self._trouble
        refuse_several(sql)
        if (words(sql) or ("",))[0] not in _VERBS:
            raise ProgrammingError(f"{self._projection}: {ONLY_ROWS}")
        self._denied = None
        try:
            placed = self._placing.change(sql)
            return self._connection.execute(placed, bindings(parameters, self._tables)).fetchall()
        except apsw.AuthError as error:
            raise ProgrammingError(f"{self._projection}: {self._denied or error}") from error
        except apsw.Error as error:
            failure = translate(error, self._connection.filename, self._connection.system_errno)
            if isinstance(failure, StoreError):
                self._trouble = failure
                raise failure from error
            foreign = VIEW.search(str(error))  # the plain name of another projection's table
            why = self._denied or (self._not_own("change", foreign[1]) if foreign else error)
            raise ProgrammingError(f"{self._projection}: {why} In: {short(sql)}") from error

    def authorize(self, action: int, first: str | None, second: str | None, schema: str | None, by: str | None) -> int:
        """Answer SQLite's question whether a statement may do this."""
        if action in _PASSIVE:
            return apsw.SQLITE_OK
        if action == apsw.SQLITE_FUNCTION:
            if second not in _FORBIDDEN:
                return apsw.SQLITE_OK
            self._denied = f"{second}() gives another answer the next time; {UNDECIDABLE}"
        elif (action == apsw.SQLITE_READ or action in _WRITES) and not str(first).startswith("sqlite_"):
            if first in self._names or first in JSON_TABLES or (second == "" and self._is_given(first)):
                return apsw.SQLITE_OK
            self._denied = self._not_own(_WRITES.get(action, "read"), first)
        else:
            self._denied = ONLY_ROWS
        return apsw.SQLITE_DENY

    def _not_own(self, verb: str, table: str | None) -> str:
        return not_own(verb, plain_name(str(table)), self._plain)

    def _is_given(self, name: str | None) -> bool:
        """Whether a name is no table's, but one that the statement itself gave to a part of it, or the placing did."""
        return name in self._plain or name not in self._existing

    def drive(self, script: Callable[["ScriptDb"], Awaitable[None]]) -> None:
        """Run it to its end without an event loop. :raises ProgrammingError: it awaited something else than its db.

        :raises StoreError: the database failed, whatever the script made of it: its transaction may be gone.
        """
        before = self._connection.authorizer
        self._connection.authorizer = self.authorize
        try:
            steps = script(self).__await__()
            for _ in steps:
                close = getattr(steps, "close", None)
                if close is not None:
                    with suppress(BaseException):  # whatever it makes of being ended here
                        close()
                raise ProgrammingError(f"{self._projection}: {AWAITS_ELSE}")
        finally:
            self._is_open = False
            self._connection.authorizer = before
            if self._trouble is not None:
                raise self._trouble


def bindings(parameters: Mapping[str, Any], tables: Sequence[Table]) -> dict[str, Any]:
    """Return named parameters as SQLite takes them.

    A Decimal is scaled as the column of its name is, else as all decimal columns of the tables, if they agree.
    """
    return {name: _binding(name, value, tables) for name, value in parameters.items()}


def _binding(name: str, value: Any, tables: Sequence[Table]) -> Any:
    if type(value) is Bound:
        return PLAIN.encode(value.column, value.value)
    if isinstance(value, Enum):
        value = value.value
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, Decimal):
        return PLAIN.encode(_decimal_column(name, value, tables), value)
    for type_, kind in _KINDS.items():
        if isinstance(value, type_):
            return PLAIN.encode(Column(name, kind), value)
    raise ProgrammingError(f":{name} cannot be bound: {type(value).__name__} is no column's type.")


_KINDS: Final[dict[type, Kind]] = {
    str: Kind.TEXT,
    bool: Kind.BOOLEAN,
    int: Kind.INTEGER,
    float: Kind.REAL,
    datetime: Kind.DATETIME,
    date: Kind.DATE,
    UUID: Kind.UUID,
}


def _decimal_column(name: str, value: Decimal, tables: Sequence[Table]) -> Column:
    columns = [column for table in tables for column in table.columns if column.kind is Kind.DECIMAL]
    for chosen in ([column for column in columns if column.name == name], columns):
        scales = {column.scale for column in chosen}
        if len(scales) == 1:
            return Column(name, Kind.DECIMAL, scale=scales.pop())
    raise ProgrammingError(
        f":{name} = {value}: decimals are kept scaled, and the tables have several scales or none. "
        "Name the parameter as the column that it is for."
    )
