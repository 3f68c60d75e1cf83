"""Rows of read models in PostgreSQL: their tables, and one compiled codec for each with its statements.

Rule: the only file that knows how a value of a `Kind` looks in PostgreSQL.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any, Final
from uuid import UUID, SafeUUID

from diptych.store.rows import RowCodec, quoted
from diptych.store.tables import Column, Kind, Table
from diptych.store.values import PLAIN, Convert, Form

_TYPES: Final = {
    Kind.TEXT: "text",
    Kind.INTEGER: "bigint",
    Kind.REAL: "double precision",
    Kind.BOOLEAN: "boolean",
    Kind.DECIMAL: "numeric",
    Kind.DATETIME: "timestamptz",
    Kind.DATE: "date",
    Kind.UUID: "uuid",
    Kind.JSON: "json",  # the text as it was written, which jsonb would rewrite
}
_WIDE: Final = Context(prec=100)


def schema(table: Table, place: str) -> list[str]:
    """Return the statements that make the table and its indexes in the schema `place`."""
    name = f"{quoted(place)}.{quoted(table.name)}"
    columns = [_definition(column) for column in table.columns]
    statements = [f"CREATE TABLE {name} ({', '.join(columns)}, PRIMARY KEY ({_names(table.key)}))"]
    for number, index in enumerate(table.indexes, 1):
        parts = [_indexed(table.column(each)) for each in index]
        statements.append(f'CREATE INDEX "{table.name}__i{number}" ON {name} ({", ".join(parts)})')
    return statements


def _definition(column: Column) -> str:
    text = f"{quoted(column.name)} {_TYPES[column.kind]}"
    if column.kind is Kind.TEXT:
        text += ' COLLATE "C"'  # sorts as Python does, and as SQLite
    elif column.kind is Kind.DECIMAL:
        text += f"(38, {column.scale})"
    return text if column.is_nullable else f"{text} NOT NULL"


def _indexed(column: Column) -> str:
    return f"{quoted(column.name)}{' NULLS FIRST' if column.is_nullable else ''}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


class PostgresRowCodec(RowCodec):
    """The codec of one table in one schema with its statements, made once. Many rows travel as one array a column."""

    def __init__(self, table: Table, place: str) -> None:
        super().__init__(table, FORM)
        name, columns = f"{quoted(place)}.{quoted(table.name)}", _names(self.names)
        self.select = f"SELECT {columns} FROM {name}"  # noqa: S608 - quoted names
        self.get = f"{self.select} WHERE " + " AND ".join(
            f"{quoted(each)} = ${number}" for number, each in enumerate(table.key, 1)
        )
        self._by: dict[tuple[str, ...], str] = {}
        self._place = name

    def upsert(self, first: int, condition: str) -> str:
        """Return the statement that writes rows, given as arrays from `$first` on, if the condition holds."""
        rest = [quoted(each) for each in self.names if each not in self.table.key]
        change = "UPDATE SET " + ", ".join(f"{each} = excluded.{each}" for each in rest) if rest else "NOTHING"
        return (
            f"INSERT INTO {self._place} ({_names(self.names)}) "  # noqa: S608 - quoted names
            f"SELECT * FROM unnest({self._arrays(self.names, first)}) WHERE {condition} "
            f"ON CONFLICT ({_names(self.table.key)}) DO {change}"
        )

    def delete(self, first: int, condition: str) -> str:
        """Return the statement that deletes rows by their keys, given as arrays, if the condition holds."""
        return f"DELETE FROM {self._place} AS one USING {self._wanted(self.table.key, first)} AND {condition}"  # noqa: S608

    def matching(self, names: tuple[str, ...]) -> str:
        """Return the SELECT of the rows that have one of many values in these columns."""
        known = self._by.get(names)
        if known is None:
            if len(names) == 1:
                type_ = _TYPES[self.table.column(names[0]).kind]
                known = f"{self.select} WHERE {quoted(names[0])} = ANY($1::{type_}[])"
            else:
                columns = ", ".join(f"one.{quoted(each)}" for each in self.names)
                known = f"SELECT {columns} FROM {self._place} AS one, {self._wanted(names)}"  # noqa: S608
            self._by[names] = known
        return known

    def _arrays(self, names: Sequence[str], first: int) -> str:
        kinds = [self.table.column(name).kind for name in names]
        return ", ".join(f"${number}::{_TYPES[kind]}[]" for number, kind in enumerate(kinds, first))

    def _wanted(self, names: Sequence[str], first: int = 1) -> str:
        equal = " AND ".join(f"one.{quoted(each)} = wanted.{quoted(each)}" for each in names)
        return f"unnest({self._arrays(names, first)}) AS wanted ({_names(names)}) WHERE {equal}"


_codecs: dict[tuple[str, int], PostgresRowCodec] = {}


def codec_of(table: Table, place: str) -> PostgresRowCodec:
    """Return the codec of a table in a schema, made on first use."""
    codec = _codecs.get((place, id(table)))
    if codec is None:
        codec = _codecs[place, id(table)] = PostgresRowCodec(table, place)  # keeps the table: its id stays its own
    return codec


def _as_it_is(check: Convert) -> Convert:
    def checked(value: Any) -> Any:
        check(value)
        return value

    return checked


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise TypeError("it is not a bool")


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    raise TypeError("it is not a UUID")


def to_uuid(value: UUID) -> UUID:
    """Return Python's own id for asyncpg's, which is of a class of its own."""
    result = UUID.__new__(UUID)
    object.__setattr__(result, "int", value.int)
    object.__setattr__(result, "is_safe", SafeUUID.unknown)
    return result


def to_datetime(value: datetime) -> datetime:
    """Return the time with its zone: asyncpg leaves it out of the first and the last moment there is."""
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _decimal_there(scale: int) -> Callable[[Any], Decimal]:
    return _as_it_is(PLAIN.decimal_there(scale))


def _decimal_back(scale: int) -> Callable[[Decimal], Decimal]:
    quantum, exponent = Decimal((0, (1,), -scale)), -scale

    def convert(value: Decimal) -> Decimal:
        if value.as_tuple().exponent == exponent:
            return value
        padded = value.quantize(quantum, context=_WIDE)  # asyncpg reads 1000000 as 1.00E+6
        return padded if padded == value else value  # an average, named as its column

    return convert


_THERE: Final[dict[Kind, Convert]] = {
    **PLAIN.there,
    Kind.BOOLEAN: _boolean,
    Kind.DATETIME: _as_it_is(PLAIN.there[Kind.DATETIME]),
    Kind.DATE: _as_it_is(PLAIN.there[Kind.DATE]),
    Kind.UUID: _uuid,
}
_BACK: Final[dict[Kind, Convert]] = {Kind.DATETIME: to_datetime, Kind.UUID: to_uuid}
FORM: Final = Form(_THERE, _BACK, _decimal_there, _decimal_back)
