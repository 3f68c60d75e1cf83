"""Between Python values and the forms in which they are kept: exactly, or refused with a sentence.

Rule: whether a value fits its column is decided here, the same on every backend.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from math import isnan
from operator import index as whole
from typing import Any, Final, NamedTuple

from pydantic_core import PydanticSerializationError

from diptych.errors import DiptychError, InvalidInputError, ValueDoesNotFitError
from diptych.store.tables import Column, Kind
from diptych.stream import uuid_of, uuid_text

Convert = Callable[[Any], Any]

BAD_VALUE: Final = (ValueError, TypeError, AttributeError, ArithmeticError, KeyError, PydanticSerializationError)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = date.min.toordinal() - _EPOCH.toordinal()
_LAST_DAY: Final = date.max.toordinal() - _EPOCH.toordinal()
_LARGEST: Final = 2**63 - 1
_EXACT: Final = Context(prec=100, traps=[Inexact, InvalidOperation])


class Form(NamedTuple):
    """How values are kept somewhere: by kind the function there and, where it is another value, the one back.

    Decimals by their scale.
    """

    there: Mapping[Kind, Convert]
    back: Mapping[Kind, Convert]
    decimal_there: Callable[[int], Convert]
    decimal_back: Callable[[int], Convert]

    def encoder(self, column: Column) -> Convert:
        """Return the function from the column's Python values to those that are kept."""
        convert: Convert = column.to_plain or self.there.get(column.kind) or self.decimal_there(column.scale)
        if column.to_plain is not None and column.kind is Kind.JSON:
            convert = _json_encoder(column.to_plain)
        if not column.is_nullable:
            return convert
        return lambda value: None if value is None else convert(value)

    def decoder(self, column: Column) -> Convert | None:
        """Return the function from kept values to the column's Python values; None when they are the same."""
        convert = column.to_python or self.back.get(column.kind)
        if column.kind is Kind.DECIMAL:
            convert = self.decimal_back(column.scale)
        if convert is None or not column.is_nullable:
            return convert
        used: Convert = convert
        return lambda value: None if value is None else used(value)

    def encode(self, column: Column, value: Any, table: str = "") -> Any:
        """Return one value as it is kept. :raises ValueDoesNotFitError: it is not of the column's type."""
        try:
            return self.encoder(column)(value)
        except BAD_VALUE as error:
            name = f"{table}.{column.name}" if table else column.name
            why = str(error) if type(error) is ValueError else f"the column keeps {_kind_in_words(column)}"
            raise ValueDoesNotFitError(name, value, why) from error


def asked_for(error: ValueDoesNotFitError) -> DiptychError:
    """Return whose error it is: a value of the right type that no column holds is the asker's (a NUL, 2**70)."""
    return InvalidInputError(str(error)) if type(error.__cause__) is ValueError else error


def converted(convert: Convert | None, value: Any, column: Column | None) -> Any:
    """Return a selected value as the column keeps it in Python. :raises ValueDoesNotFitError: it is no such value."""
    if convert is None or value is None:
        return value
    try:
        return convert(value)
    except (TypeError, ValueError, ArithmeticError, KeyError, AttributeError) as error:
        name = column.name if column is not None else "?"
        raise ValueDoesNotFitError(name, value, "it is not what that column keeps; give it another name") from error


def _kind_in_words(column: Column) -> str:
    return f"{column.kind.value}{' or None' if column.is_nullable else ', never None'}"


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


_THERE: Final[dict[Kind, Convert]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.REAL: _real,
    Kind.BOOLEAN: _boolean,
    Kind.DATETIME: _datetime,
    Kind.DATE: _date,
    Kind.UUID: uuid_text,
    Kind.JSON: _text,
}
_BACK: Final[dict[Kind, Convert]] = {
    Kind.BOOLEAN: bool,
    Kind.DATETIME: _to_datetime,
    Kind.DATE: date.fromisoformat,
    Kind.UUID: uuid_of,
}
# Texts, integers and reals alone, as SQLite and JSON have them: decimals scaled, times in microseconds since 1970.
PLAIN: Final = Form(_THERE, _BACK, _scaler, _unscaler)
