"""SELECTs of the read side: what they read and give, learnt from SQLite itself the first time each is run.

Rule: a statement is judged by SQLite's own questions and answers, never by parsing it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw

from diptych.errors import (
    AccessDeniedError,
    DiptychError,
    ProgrammingError,
    StoreUnavailableError,
    ValueDoesNotFitError,
)
from diptych.store.protocols import Selected
from diptych.store.refusals import LOG, not_readable, not_select, not_select_because
from diptych.store.sql_text import refuse_several, words
from diptych.store.sqlite.connection import translate
from diptych.store.sqlite.connections import PooledConnection
from diptych.store.sqlite.script import VIEW, bindings
from diptych.store.tables import Column, Table, plain_name
from diptych.store.values import PLAIN, asked_for, converted

_KNOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class Statement:
    """What SQLite said of a statement when it prepared it."""

    tables: frozenset[str]
    names: tuple[str, ...]
    columns: tuple[Column | None, ...]


class _LateParameters(Mapping[str, Any]):
    """Parameters that are converted when SQLite asks for them: by then the statement's tables are known."""

    def __init__(self, given: Mapping[str, Any], tables: Callable[[], Sequence[Table]]) -> None:
        self._given, self._tables = given, tables

    def __getitem__(self, name: str) -> Any:
        return bindings({name: self._given[name]}, self._tables())[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


class Statements:
    """Runs SELECTs on pooled connections and remembers what each reads."""

    def __init__(self, path: str, tables: Mapping[str, Table]) -> None:
        self._path, self.tables = path, tables
        self._known: dict[str, Statement] = {}

    def run(self, held: PooledConnection, sql: str, parameters: Mapping[str, Any]) -> tuple[Statement, list[Any]]:
        """Run one SELECT; raw values come back. :raises AccessDeniedError: it is, or reads, something else."""
        known = self._known.get(sql)
        try:
            if known is None:
                return self._first(held, sql, parameters)
            values = bindings(parameters, self._of(known.tables))
            return known, held.connection.execute(sql, values).fetchall()
        except ValueDoesNotFitError as error:
            raise asked_for(error) from error
        except UnicodeEncodeError as error:
            raise ProgrammingError(f"The query cannot be run: {error}.") from error
        except KeyError as error:
            raise ProgrammingError(f"The parameter :{error.args[0]} has no value. Give it by name.") from error
        except apsw.Error as error:
            raise self.refusal(held, error) from error

    def select(self, held: PooledConnection, sql: str, parameters: Mapping[str, Any]) -> Selected:
        """Run one SELECT; values are made Python's by the column they came from, or are named as."""
        statement, rows = self.run(held, sql, parameters)
        converts = [None if column is None else PLAIN.decoder(column) for column in statement.columns]
        if any(converts):
            rows = [tuple(map(converted, converts, row, statement.columns)) for row in rows]
        return Selected(statement.names, statement.columns, rows, statement.tables)

    def refusal(self, held: PooledConnection, error: apsw.Error) -> DiptychError:
        """Return our error for SQLite's, as a sentence."""
        if isinstance(error, apsw.AuthError | apsw.SQLError) and held.guard is not None and held.guard.denied:
            denied, held.guard.denied = held.guard.denied, None
            return AccessDeniedError(denied)
        if VIEW.search(str(error)):  # the plain name of a table
            return AccessDeniedError(not_select_because(error))
        if isinstance(error, apsw.InterruptError):
            return StoreUnavailableError(f"{self._path}: the query ran for too long and was stopped. Add an Index.")
        missing = str(error).partition("no such table: ")[2].rpartition(".")[2]
        if missing in LOG:  # its file is not even open here
            return AccessDeniedError(not_readable(missing, self.tables))
        if type(error) is apsw.SQLError:
            return ProgrammingError(f"The query cannot be run: {error}.")
        return translate(error, self._path)

    def _first(self, held: PooledConnection, sql: str, parameters: Mapping[str, Any]) -> tuple[Statement, list[Any]]:
        verb = (words(sql) or ("nothing",))[0]
        if verb not in ("SELECT", "WITH", "VALUES"):
            raise AccessDeniedError(not_select(verb))
        refuse_several(sql)
        guard = held.guard
        assert guard is not None
        guard.used.clear()
        guard.denied = None
        cursor = held.connection.cursor()
        described: list[Sequence[Any]] = []

        def describe(cursor: apsw.Cursor, sql: str, values: Any) -> bool:
            described.extend(cursor.description_full)
            return True

        cursor.exec_trace = describe
        late = _LateParameters(parameters, lambda: self._of(guard.used))
        rows = cursor.execute(sql, late, can_cache=False).fetchall()
        tables = frozenset(guard.used)
        columns = tuple(self._column(entry, tables) for entry in described)
        statement = Statement(tables, tuple(entry[0] for entry in described), columns)
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[sql] = statement
        return statement, rows

    def _of(self, names: frozenset[str] | set[str]) -> list[Table]:
        return [self.tables[name] for name in names]

    def _column(self, described: Sequence[Any], tables: frozenset[str]) -> Column | None:
        """Return the column a value came from; for an expression the one it is named as, if all tables agree."""
        name, _, _, table, origin = described
        plain = plain_name(table or "")
        if plain in self.tables:
            known = {column.name: column for column in self.tables[plain].columns}
            return known.get(origin)
        named = [column for table in self._of(tables) for column in table.columns if column.name == name]
        return named[0] if len({(column.kind, column.scale) for column in named}) == 1 else None
