"""Running statements that were judged: their parameters bound, their values made Python's.

Rule: a value is bound as the type PostgreSQL expects at its place, and refused as its column refuses it.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import asyncpg

from diptych.errors import (
    AccessDeniedError,
    DiptychError,
    ProgrammingError,
    StoreUnavailableError,
    ValueDoesNotFitError,
)
from diptych.store.placing import Placing
from diptych.store.postgres.connection import Database, translate
from diptych.store.postgres.guard import GoneError, Judge, Verdict, first_line
from diptych.store.postgres.rows import FORM
from diptych.store.postgres.sql_text import outside
from diptych.store.protocols import Selected
from diptych.store.refusals import LOG, not_by_schema, not_readable, not_select, not_select_because
from diptych.store.sql_text import refuse_several, words
from diptych.store.tables import Bound, Column, Kind, Table, plain_name
from diptych.store.values import Convert, asked_for, converted

_MISSING: Final = re.compile(r'relation "(?:\w+\.)?(\w+)" does not exist')
_TEXTS: Final = frozenset({"text", "varchar", "bpchar", "name"})
_INTEGERS: Final = frozenset({"int2", "int4", "int8"})
_KINDS_OF: Final[Mapping[str, Kind]] = {
    "numeric": Kind.DECIMAL,
    "timestamptz": Kind.DATETIME,
    "date": Kind.DATE,
    "uuid": Kind.UUID,
    "bool": Kind.BOOLEAN,
    "float8": Kind.REAL,
    **dict.fromkeys(_INTEGERS, Kind.INTEGER),
    **dict.fromkeys(_TEXTS, Kind.TEXT),
}
_PYTHON: Final[dict[type, Kind]] = {
    str: Kind.TEXT,
    bool: Kind.BOOLEAN,
    int: Kind.INTEGER,
    float: Kind.REAL,
    datetime: Kind.DATETIME,
    date: Kind.DATE,
    UUID: Kind.UUID,
}


def arguments(verdict: Verdict, parameters: Mapping[str, Any]) -> list[Any]:
    """Return the values for `$1`, `$2` ... :raises ProgrammingError: one is missing, or of no column's type."""
    found = []
    for (name, is_test), expected in zip(verdict.text.parameters, verdict.parameters, strict=True):
        if name not in parameters:
            raise ProgrammingError(f"The parameter :{name} has no value. Give it by name.")
        value = _plain(name, parameters[name])
        if is_test and value is not None:
            value = ""
        found.append(_fitted(value, expected))
    return found


def _plain(name: str, value: Any) -> Any:
    """Return a Python value without what only its column knows, checked as any column of its kind checks it."""
    if type(value) is Bound:
        return FORM.encode(value.column, value.value)
    if isinstance(value, Enum):
        value = value.value
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, Decimal):
        if value.is_finite():
            return value
        raise ProgrammingError(f":{name} cannot be bound: {value} is no number that can be kept.")
    for type_, kind in _PYTHON.items():
        if isinstance(value, type_):
            return FORM.encode(Column(name, kind), value)
    raise ProgrammingError(f":{name} cannot be bound: {type(value).__name__} is no column's type.")


def _fitted(value: Any, expected: str) -> Any:
    """Return a value as asyncpg takes it where PostgreSQL expects this type; one that never fits stays as it is."""
    if expected in _TEXTS:
        if isinstance(value, UUID | date) and not isinstance(value, datetime):
            return str(value)
    elif expected == "bool":
        return bool(value) if value in (0, 1) else value
    elif expected in _INTEGERS and isinstance(value, bool):
        return int(value)
    elif expected == "float8" and isinstance(value, Decimal):
        return float(value)
    return value


def readers(verdict: Verdict, tables: Sequence[Table]) -> list[tuple[Column | None, Convert | None]]:
    """Say of each selected value which column it is, and how it becomes Python's.

    The column is the one it is named as, if all tables agree on it and the value is of its type; else one of
    PostgreSQL's type, and None for types that no column has.
    """
    return [_reader(name, type_, tables) for name, type_ in verdict.columns]


def _reader(name: str, type_: str, tables: Sequence[Table]) -> tuple[Column | None, Convert | None]:
    named = [column for table in tables for column in table.columns if column.name == name]
    kind = _KINDS_OF.get(type_)
    if len({(column.kind, column.scale) for column in named}) == 1:
        column = named[0]
        if column.kind is kind or (column.kind is Kind.JSON and type_ == "json"):
            return column, FORM.decoder(column)
        if column.kind is Kind.INTEGER and kind is Kind.DECIMAL:  # what sum() makes of integers
            return column, _whole
    if kind is None:
        return None, None
    return Column(name, kind, is_nullable=True), None if kind is Kind.DECIMAL else FORM.back.get(kind)


def _whole(value: Decimal) -> Any:
    return int(value) if value == value.to_integral_value() else value


class Statements:
    """Knows what SELECTs of the read side do, and says which of them may be run (R4)."""

    def __init__(self, database: Database, judge: Judge, tables: Mapping[str, Table]) -> None:
        self._database, self._judge, self._tables = database, judge, tables

    async def allowed(self, sql: str, placing: Placing) -> Verdict:
        """Return what PostgreSQL said of it, over these generations.

        :raises AccessDeniedError: it is, or reads, something else. :raises GoneError: so is a generation's table.
        """
        verb = (words(sql) or ("nothing",))[0]
        if verb not in ("SELECT", "WITH", "VALUES"):
            raise AccessDeniedError(not_select(verb))
        refuse_several(sql)
        try:
            verdict = await self._judge.judge(placing.read(sql))
        except GoneError:
            raise
        except ProgrammingError as error:
            missing = _MISSING.search(str(error))
            if missing is not None and missing[1] in LOG:  # it is in another database
                raise self.forbidden(missing[1]) from error
            raise ProgrammingError(f"The query cannot be run: {error}.") from error
        if verdict.writes or not verdict.columns:
            what = f"change or lock {plain_name(min(verdict.writes))}" if verdict.writes else "make tables"
            raise AccessDeniedError(not_select(what))
        other = min(verdict.foreign, default=None) or outside(verdict.text.names)
        other = other or min(verdict.reads - {table.name for table in placing.tables}, default=None)
        if other is not None:
            raise self.forbidden(other)
        return verdict

    def check_registered(self, name: str) -> None:
        """:raises AccessDeniedError: it is not a table of the read side."""
        if name not in self._tables:
            raise self.forbidden(name)

    def forbidden(self, name: str) -> AccessDeniedError:
        """Return the refusal to read this."""
        if name in self._tables:  # the view of that name, which is for people
            return AccessDeniedError(not_by_schema(name))
        return AccessDeniedError(not_readable(name, self._tables))

    def bind(self, verdict: Verdict, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the arguments of a statement. :raises InvalidInputError: no column holds such a value."""
        try:
            return arguments(verdict, parameters)
        except ValueDoesNotFitError as error:
            raise asked_for(error) from error

    def selected(self, verdict: Verdict, rows: Sequence[Sequence[Any]]) -> Selected:
        """Return what a SELECT gave, its values made Python's."""
        tables = frozenset(map(plain_name, verdict.reads))
        found = readers(verdict, [self._tables[name] for name in tables])
        columns, converts = tuple([column for column, _ in found]), [convert for _, convert in found]
        names = tuple([name for name, _ in verdict.columns])
        return Selected(names, columns, [tuple(map(converted, converts, row, columns)) for row in rows], tables)

    def refusal(self, error: BaseException) -> DiptychError:
        """Return our error for PostgreSQL's, as a sentence."""
        if isinstance(error, asyncpg.QueryCanceledError):
            return StoreUnavailableError(f"{self._database}: the query ran for too long and was stopped. Add an Index.")
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError | asyncpg.InsufficientPrivilegeError):
            return AccessDeniedError(not_select_because(error))
        if isinstance(error, asyncpg.InvalidCachedStatementError):
            return StoreUnavailableError(f"{self._database}: the tables were made anew meanwhile. Try again.")
        if isinstance(error, asyncpg.DataError | asyncpg.SyntaxOrAccessError):
            return ProgrammingError(f"The query cannot be run: {first_line(error)}.")
        return translate(error, self._database)
