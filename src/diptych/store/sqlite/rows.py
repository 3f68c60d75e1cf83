"""Between rows as Python objects and rows as SQLite keeps them: one compiled codec for each table.

Rule: the only file that knows how a value of a `Kind` looks in SQLite.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from math import isnan
from operator import attrgetter
from operator import index as whole
from typing import Any, Final
from uuid import UUID, SafeUUID

from pydantic_core import PydanticSerializationError

from diptych.errors import ValueDoesNotFitError
from diptych.store.tables import Column, Kind, Table, check_identifier

Convert = Callable[[Any], Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = date.min.toordinal() - _EPOCH.toordinal()
_LAST_DAY: Final = date.max.toordinal() - _EPOCH.toordinal()
_LARGEST: Final = 2**63 - 1
_EXACT: Final = Context(prec=100, traps=[Inexact, InvalidOperation])
_BAD_VALUE: Final = (ValueError, TypeError, AttributeError, ArithmeticError, KeyError, PydanticSerializationError)
_TYPES: Final = {
    Kind.TEXT: "TEXT",
    Kind.INTEGER: "INTEGER",
    Kind.REAL: "REAL",
    Kind.BOOLEAN: "INTEGER",
    Kind.DECIMAL: "INTEGER",
    Kind.DATETIME: "INTEGER",
    Kind.DATE: "TEXT",
    Kind.UUID: "TEXT",
    Kind.JSON: "TEXT",
}


def quoted(name: str) -> str:
    """Return an identifier as SQL takes it; one that may not be one is refused (I3)."""
    return f'"{check_identifier(name, "The identifier")}"'


def schema(table: Table) -> list[str]:
    """Return the statements that make the table and its indexes."""
    columns = [_definition(table, column) for column in table.columns]
    key = ", ".join(map(quoted, table.key))
    single = table.column(table.key[0])
    is_rowid = len(table.key) == 1 and _TYPES[single.kind] == "INTEGER"
    has_large_rows = any(column.kind is Kind.JSON for column in table.columns)
    options = "STRICT" if is_rowid or has_large_rows else "STRICT, WITHOUT ROWID"
    statements = [f"CREATE TABLE {quoted(table.name)} ({', '.join(columns)}, PRIMARY KEY ({key})) {options}"]
    for number, index in enumerate(table.indexes, 1):
        names = ", ".join(map(quoted, index))
        statements.append(f'CREATE INDEX "{table.name}__i{number}" ON {quoted(table.name)} ({names})')
    return statements


def _definition(table: Table, column: Column) -> str:
    text = f"{quoted(column.name)} {_TYPES[column.kind]}"
    if not column.is_nullable:
        text += " NOT NULL"
    if column.kind is Kind.BOOLEAN:
        text += f" CHECK ({quoted(column.name)} IN (0, 1))"
    return text


class RowCodec:
    """Turns rows of one table into SQLite's values and back; its statements are made once."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.names = tuple(column.name for column in table.columns)
        self._get: Callable[[Any], Any] = attrgetter(*self.names)
        self._key = attrgetter(*table.key)
        self._encoders = tuple(map(encoder, table.columns))
        self._decoders = tuple(
            (column.name, decode) for column in table.columns if (decode := decoder(column)) is not None
        )
        self._key_encoders = tuple(encoder(table.column(name)) for name in table.key)
        self._insert, self._update, self.delete, self.select = _statements(table)
        self.get = f"{self.select} WHERE " + _equals(table.key)

    def upsert(self, rows: int) -> str:
        """Return the statement that writes so many rows."""
        row = f"({', '.join('?' * len(self.names))})"
        return self._insert + ", ".join([row] * rows) + self._update

    def encode(self, row: Any) -> list[Any]:
        """Return the row's values as SQLite keeps them. :raises ValueDoesNotFitError: one has no exact place."""
        values = self._get(row)
        if len(self.names) == 1:
            values = (values,)
        try:
            return [convert(value) for convert, value in zip(self._encoders, values, strict=True)]
        except _BAD_VALUE as error:
            raise self._culprit(values) from error

    def _culprit(self, values: Sequence[Any]) -> ValueDoesNotFitError:
        for column, value in zip(self.table.columns, values, strict=True):
            try:
                encode_value(column, value, self.table.name)
            except ValueDoesNotFitError as found:
                return found
        return ValueDoesNotFitError(self.table.name, values, "it changed while it was written")

    def encode_key(self, key: Sequence[Any]) -> tuple[Any, ...]:
        """Return a key's values as SQLite keeps them. :raises ValueDoesNotFitError: one is not of its column's type."""
        if len(key) != len(self._key_encoders):
            raise ValueDoesNotFitError(self.table.name, key, f"its key is ({', '.join(self.table.key)})")
        try:
            return tuple([convert(value) for convert, value in zip(self._key_encoders, key, strict=True)])
        except _BAD_VALUE:
            return tuple(
                encode_value(self.table.column(name), value, self.table.name)
                for name, value in zip(self.table.key, key, strict=True)
            )

    def key_of(self, row: Any) -> tuple[Any, ...]:
        """Return the row's key, always as a tuple."""
        key = self._key(row)
        return key if len(self.table.key) > 1 else (key,)

    def decode(self, values: Sequence[Any]) -> Any:
        """Build a row of the values that SQLite kept, in the order of the columns.

        :raises ValueDoesNotFitError: one is not what its column keeps today, a member that an Enum has lost, say.
        """
        row = dict(zip(self.names, values, strict=True))
        try:
            for name, convert in self._decoders:
                row[name] = convert(row[name])
        except _BAD_VALUE as error:
            why = "the code does not know this value any more; raise the projection's version to build it again"
            raise ValueDoesNotFitError(f"{self.table.name}.{name}", row[name], why) from error
        return self.table.build(row)

    def decode_all(self, rows: Iterable[Sequence[Any]]) -> list[Any]:
        """Build many rows."""
        decode = self.decode
        return [decode(values) for values in rows]


def _statements(table: Table) -> tuple[str, str, str, str]:
    name, key = quoted(table.name), ", ".join(map(quoted, table.key))
    columns = ", ".join(quoted(column.name) for column in table.columns)
    rest = [quoted(column.name) for column in table.columns if column.name not in table.key]
    change = "UPDATE SET " + ", ".join(f"{each} = excluded.{each}" for each in rest) if rest else "NOTHING"
    insert, update = f"INSERT INTO {name} ({columns}) VALUES ", f" ON CONFLICT ({key}) DO {change}"  # noqa: S608
    delete = f"DELETE FROM {name} WHERE " + _equals(table.key)  # noqa: S608
    return insert, update, delete, f"SELECT {columns} FROM {name}"  # noqa: S608


def _equals(names: Sequence[str]) -> str:
    return " AND ".join(f"{quoted(each)} = ?" for each in names)


_codecs: dict[int, RowCodec] = {}


def codec_of(table: Table) -> RowCodec:
    """Return the table's codec, made on first use."""
    codec = _codecs.get(id(table))
    if codec is None:
        codec = _codecs[id(table)] = RowCodec(table)  # keeps the table, so that its id stays its own
    return codec


def encode_value(column: Column, value: Any, table: str = "") -> Any:
    """Return one value as SQLite keeps it. :raises ValueDoesNotFitError: it is not of the column's type."""
    try:
        return encoder(column)(value)
    except _BAD_VALUE as error:
        name = f"{table}.{column.name}" if table else column.name
        why = str(error) if type(error) is ValueError else f"the column keeps {_kind_in_words(column)}"
        raise ValueDoesNotFitError(name, value, why) from error


def _kind_in_words(column: Column) -> str:
    return f"{column.kind.value}{' or None' if column.is_nullable else ', never None'}"


def encoder(column: Column) -> Convert:
    """Return the function from the column's Python values to SQLite's."""
    convert: Convert = column.to_plain or _ENCODERS.get(column.kind) or _scaler(column.scale)
    if column.to_plain is not None and column.kind is Kind.JSON:
        convert = _json_encoder(column.to_plain)
    if not column.is_nullable:
        return convert
    return lambda value: None if value is None else convert(value)


def decoder(column: Column) -> Convert | None:
    """Return the function from SQLite's values to the column's Python values; None when they are the same."""
    convert = column.to_python or _DECODERS.get(column.kind)
    if column.kind is Kind.DECIMAL:
        convert = _unscaler(column.scale)
    if convert is None or not column.is_nullable:
        return convert
    used: Convert = convert
    return lambda value: None if value is None else used(value)


def _text(value: Any) -> str:
    if "\0" in value:
        raise ValueError("it has a NUL character")
    if not value.isascii():
        _refuse_surrogates(value)
    return value  # type: ignore[no-any-return]  # what is no text has no isascii


def _refuse_surrogates(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("it has half of a surrogate pair") from error


def _integer(value: Any) -> int:
    if -_LARGEST - 1 <= value <= _LARGEST:
        return whole(value)
    raise ValueError("it is beyond 64 bits")


def _real(value: Any) -> float:
    if isnan(value):
        raise ValueError("it is not a number")
    return value + 0.0  # type: ignore[no-any-return]  # what is no number cannot be added to


def _boolean(value: Any) -> int:
    if value is True:
        return 1
    if value is False:
        return 0
    raise TypeError("it is not a bool")


def _datetime(value: Any) -> int:
    try:
        since: timedelta = value - _EPOCH
    except TypeError as error:
        if not isinstance(value, datetime):
            raise
        raise ValueError("a time without zone is ambiguous; use an aware datetime") from error
    if not _FIRST_DAY <= since.days <= _LAST_DAY:
        raise ValueError("in UTC it is before the year 1 or after the year 9999")
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _date(value: Any) -> str:
    if type(value) is not date:
        raise TypeError("it is not a date")
    return value.isoformat()


def _uuid(value: Any) -> str:
    digits = f"{value.int:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _json_encoder(to_plain: Convert) -> Convert:
    def convert(value: Any) -> str:
        if value is None:
            raise TypeError("it is None")
        text: str = to_plain(value)
        if "\\u0000" in text and text.replace("\\\\", "").count("\\u0000"):
            raise ValueError("a text in it has a NUL character")
        return text

    return convert


def _scaler(scale: int) -> Convert:
    scaleb = _EXACT.scaleb

    def convert(value: Any) -> int:
        try:
            scaled = scaleb(value, scale)
            whole = int(scaled) if scaled.adjusted() < 19 else _LARGEST + 1
        except (ArithmeticError, ValueError) as error:
            raise ValueError("it has no exact value here") from error
        if not -_LARGEST <= whole <= _LARGEST:
            raise ValueError(f"with {scale} decimal places it is beyond 64 bits")
        if whole != scaled:
            raise ValueError(f"the column keeps {scale} decimal places")
        return whole

    return convert


def _unscaler(scale: int) -> Convert:
    scaleb = _EXACT.scaleb

    def convert(value: int) -> Decimal:
        return scaleb(value, -scale)

    return convert


def _to_datetime(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def _to_uuid(value: str) -> UUID:
    result = UUID.__new__(UUID)
    object.__setattr__(result, "int", int(value.replace("-", ""), 16))
    object.__setattr__(result, "is_safe", SafeUUID.unknown)
    return result


_ENCODERS: Final[dict[Kind, Convert]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.REAL: _real,
    Kind.BOOLEAN: _boolean,
    Kind.DATETIME: _datetime,
    Kind.DATE: _date,
    Kind.UUID: _uuid,
    Kind.JSON: _text,
}
_DECODERS: Final[dict[Kind, Convert]] = {
    Kind.BOOLEAN: bool,
    Kind.DATETIME: _to_datetime,
    Kind.DATE: date.fromisoformat,
    Kind.UUID: _to_uuid,
}
