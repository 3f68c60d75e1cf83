"""Between rows as Python objects and rows as a store keeps them: one compiled codec for each table.

Rule: no SQL here but quoted names; what a backend's statements are, its own codec adds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from diptych.errors import ValueDoesNotFitError
from diptych.store.batches import Load
from diptych.store.tables import PLACED, Table, check_identifier, plain_name
from diptych.store.values import BAD_VALUE, Form


def quoted(name: str) -> str:
    """Return an identifier as SQL takes it; one that may not be one is refused (I3)."""
    return f'"{name if PLACED.fullmatch(name) else check_identifier(name, "The identifier")}"'


class RowCodec:
    """Turns rows of one table into the values that are kept, and back."""

    def __init__(self, table: Table, form: Form) -> None:
        self.table, self._form, self._name = table, form, plain_name(table.name)
        self.names = tuple(column.name for column in table.columns)
        self._get: Callable[[Any], Any] = attrgetter(*self.names)
        self._key = attrgetter(*table.key)
        self._encoders = tuple(map(form.encoder, table.columns))
        self._decoders = tuple(
            (column.name, decode) for column in table.columns if (decode := form.decoder(column)) is not None
        )
        self._key_encoders = tuple(form.encoder(table.column(name)) for name in table.key)

    def encode(self, row: Any) -> list[Any]:
        """Return the row's values as they are kept. :raises ValueDoesNotFitError: one has no exact place."""
        values = self._get(row)
        if len(self.names) == 1:
            values = (values,)
        try:
            return [convert(value) for convert, value in zip(self._encoders, values, strict=True)]
        except BAD_VALUE as error:
            raise self._culprit(values) from error

    def _culprit(self, values: Sequence[Any]) -> ValueDoesNotFitError:
        for column, value in zip(self.table.columns, values, strict=True):
            try:
                self._form.encode(column, value, self._name)
            except ValueDoesNotFitError as found:
                return found
        return ValueDoesNotFitError(self._name, values, "it changed while it was written")

    def encode_key(self, key: Sequence[Any]) -> tuple[Any, ...]:
        """Return a key's values as they are kept. :raises ValueDoesNotFitError: one is not of its column's type."""
        if len(key) != len(self._key_encoders):
            raise ValueDoesNotFitError(self._name, key, f"its key is ({', '.join(self.table.key)})")
        try:
            return tuple([convert(value) for convert, value in zip(self._key_encoders, key, strict=True)])
        except BAD_VALUE:
            return self._encode_one_by_one(self.table.key, key)

    def _encode_one_by_one(self, names: Sequence[str], values: Sequence[Any]) -> tuple[Any, ...]:
        pairs = zip(names, values, strict=True)
        return tuple(self._form.encode(self.table.column(name), value, self._name) for name, value in pairs)

    def wanted(self, load: Load) -> list[tuple[Any, ...]]:
        """Return what a load looks for as it is kept, each once. :raises ValueDoesNotFitError: it cannot be there."""
        encoders = [self._form.encoder(self.table.column(name)) for name in load.columns]
        found: dict[tuple[Any, ...], None] = {}
        for value in load.values:
            try:
                found[tuple([convert(each) for convert, each in zip(encoders, value, strict=True)])] = None
            except BAD_VALUE:
                found[self._encode_one_by_one(load.columns, value)] = None
        return list(found)

    def key_of(self, row: Any) -> tuple[Any, ...]:
        """Return the row's key, always as a tuple."""
        key = self._key(row)
        return key if len(self.table.key) > 1 else (key,)

    def decode(self, values: Sequence[Any]) -> Any:
        """Build a row of the values that were kept, in the order of the columns.

        :raises ValueDoesNotFitError: one is not what its column keeps today, a member that an Enum has lost, say.
        """
        row = dict(zip(self.names, values, strict=True))
        try:
            for name, convert in self._decoders:
                row[name] = convert(row[name])
        except BAD_VALUE as error:
            why = "the code does not know this value any more; raise the projection's version to build it again"
            raise ValueDoesNotFitError(f"{self._name}.{name}", row[name], why) from error
        return self.table.build(row)

    def decode_all(self, rows: Iterable[Sequence[Any]]) -> list[Any]:
        """Build many rows."""
        decode = self.decode
        return [decode(values) for values in rows]

    def decode_distinct(self, rows: Iterable[Sequence[Any]]) -> list[Any]:
        """Build rows that may be there several times, each once."""
        places = [self.names.index(name) for name in self.table.key]
        return self.decode_all({tuple([row[place] for place in places]): row for row in rows}.values())


def by_table(loads: Sequence[Load]) -> Iterator[tuple[Table, list[Load]]]:
    """Yield each table that is asked for, and what for."""
    grouped: dict[Table, list[Load]] = {}
    by_name: dict[str, Table] = {}
    for load in loads:
        grouped.setdefault(by_name.setdefault(load.table.name, load.table), []).append(load)
    yield from grouped.items()
