"""A batch of events folded over rows, in memory: pure, synchronous, and the hot path of every projection.

Rule: no clock, no database and no await here. Rows are never changed in place; a fold can be thrown away and repeated.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from diptych.errors import ConfigurationError, DataError, ProjectionError
from diptych.events.recorded import StoredEvent, StoredMetadata
from diptych.messages import DomainEvent
from diptych.projections.keys import RowKeys, comparable
from diptych.projections.piece import Piece
from diptych.projections.plan import Definition, Each, Handler
from diptych.read.models import ReadModel
from diptych.store.batches import Load, RowChanges
from diptych.store.tables import Kind
from diptych.subscriptions.failures import EventFailure, named, words

_ALL_WELL: Final = object()


class _BrokenPromise(Exception):  # noqa: N818 - its text becomes a ProjectionError's
    """A method did not keep what its annotations say."""


class Sheet:
    """The rows of one table while a batch is folded: what was loaded, and what became of it.

    A key that maps to None is a row that is gone, or was found not to be there.
    """

    __slots__ = ("_compare", "index", "keys", "loaded", "rows", "watched")

    def __init__(self, keys: RowKeys, watched: tuple[str, ...]) -> None:
        self.keys, self.watched = keys, watched
        self.loaded: dict[Hashable, Any] = {}
        self.rows: dict[Hashable, Any] = {}
        self._compare = {column: comparable(keys.table.column(column).kind) for column in watched}
        self.index: dict[str, dict[Hashable, set[Hashable]]] = {column: {} for column in watched}

    def fill(self, rows: Sequence[Any]) -> None:
        """Take what a store holds now."""
        of_row = self.keys.of_row
        for row in rows:
            key = of_row(row)
            self.loaded[key] = row
            self.put(key, row)

    def put(self, key: Hashable, row: Any) -> None:
        """Set a row, or None for no row."""
        for column in self.watched:
            self._note(column, key, self.rows.get(key), row)
        self.rows[key] = row

    def having(self, column: str, value: Hashable) -> list[Hashable]:
        """Return the keys of all rows now in memory with this value in a column, always in the same order."""
        return sorted(self.index[column].get(value, ()), key=str)

    def changes(self) -> RowChanges | None:
        """Return what differs from what was loaded, or None if nothing does."""
        loaded, upserts, deletes = self.loaded, [], []
        if any(column.kind is Kind.JSON for column in self.keys.table.columns):
            loaded = {}  # the same row is no proof: a method may have changed a list in it
        for key, row in self.rows.items():
            if row is None:
                deletes.append(self.keys.values(key))
            elif row is not loaded.get(key):
                upserts.append(row)
        return RowChanges(self.keys.table, upserts, deletes) if upserts or deletes else None

    def _note(self, column: str, key: Hashable, before: Any, after: Any) -> None:
        index, compare = self.index[column], self._compare[column]
        old = None if before is None else getattr(before, column)
        new = None if after is None else getattr(after, column)
        if old is not None:
            index[compare(old)].discard(key)
        if new is not None:
            index.setdefault(compare(new), set()).add(key)


class BatchFold:
    """One batch of one projection: ask `loads`, fetch them, then `run`.

    An event is decoded when it is folded, and let go of then: a batch of them kept in memory takes twice as long.
    :raises EventFailure: from both methods, naming the position of the event that cannot be taken.
    """

    def __init__(self, definition: Definition, piece: Piece) -> None:
        self._definition, self._piece = definition, piece

    def loads(self) -> list[Load]:
        """Say which rows the batch reads, leaving out those it makes itself before it reads them."""
        wanted, piece, handlers = _Wanted(self._definition), self._piece, self._definition.handlers
        types, stream_ids = piece.types, piece.stream_ids
        event, handler = None, None
        try:
            for index in piece.indexes:
                for handler in handlers[types[index]]:
                    if handler.is_isolated:
                        wanted.by_stream(handler, stream_ids[index])
                    else:
                        event = None
                        event = piece.decode(index)
                        wanted.note(handler, piece.rows[index], event)
        except BaseException as error:
            raise self._failure(index, handler if event is not None else None, error) from error
        return wanted.loads()

    def run(self, rows: Mapping[str, Sequence[Any]]) -> list[RowChanges]:
        """Fold all events over these rows (by table name) and return what changed."""
        definition, piece = self._definition, self._piece
        sheets = [Sheet(keys, watched) for keys, watched in zip(definition.sheets, definition.watched, strict=True)]
        for sheet in sheets:
            sheet.fill(rows.get(sheet.keys.table.name, ()))
        handlers, types, stream_ids, decode = definition.handlers, piece.types, piece.stream_ids, piece.decode
        handler = None
        try:
            for index in piece.indexes:
                event = decode(index)
                for handler in handlers[types[index]]:
                    if handler.change is not None:
                        _fold_change(handler, sheets[handler.target], stream_ids[index], event)
                    elif handler.is_plain:
                        _fold_plain(handler, sheets[handler.target], piece.rows[index], event)
                    else:
                        _fold_any(handler, sheets, piece.rows[index], event)
                handler = None
        except BaseException as error:  # SystemExit too: a handler may not end the process
            raise self._failure(index, handler, error) from error
        return [changes for sheet in sheets if (changes := sheet.changes()) is not None]

    def _failure(self, index: int, handler: Handler | None, error: BaseException) -> BaseException:
        """Return what a handler's error becomes; without a handler it was the event that could not be read."""
        stored = self._piece.rows[index]
        if handler is None:
            return EventFailure(stored.position, error) if isinstance(error, DataError | ConfigurationError) else error
        why = words(error) if isinstance(error, _BrokenPromise) else named(error)
        cause = ProjectionError(self._definition.name, stored.position, stored.type, f"{handler.name}: {why}")
        cause.__cause__ = error
        return EventFailure(stored.position, cause)


class _Wanted:
    """Collects which rows a batch reads."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._keys: list[dict[Hashable, None]] = [{} for _ in definition.sheets]
        self._made: list[set[Hashable]] = [set() for _ in definition.sheets]
        self._each: dict[tuple[int, str], dict[Hashable, None]] = {}

    def note(self, handler: Handler, stored: StoredEvent, event: DomainEvent) -> None:
        meta = StoredMetadata(stored) if handler.needs_meta else None
        for lookup in handler.lookups:
            self.want(lookup.sheet, lookup.find(stored, event, meta))
        if handler.each is not None:
            value = handler.each.find(stored, event, meta)
            if value is not None:
                self._each.setdefault((handler.source, handler.each.column), {})[value] = None
        elif handler.source >= 0 and handler.find is not None:
            self.want(handler.source, handler.find(stored, event, meta))
        elif handler.find is not None:
            self._made[handler.target].add(handler.find(stored, event, meta))

    def by_stream(self, handler: Handler, key: Hashable) -> None:
        """Note the row of the event's own stream: no need to look into the event."""
        source = handler.source
        if source < 0:
            self._made[handler.target].add(key)
        elif key not in self._made[source]:
            self._keys[source][key] = None

    def want(self, sheet: int, key: Hashable) -> None:
        if key is not None and key not in self._made[sheet]:
            self._keys[sheet][key] = None

    def loads(self) -> list[Load]:
        sheets = self._definition.sheets
        found = []
        for keys, wanted in zip(sheets, self._keys, strict=True):
            if wanted:
                found.append(Load(keys.table, keys.table.key, [keys.values(key) for key in wanted]))
        for (at, column), values in self._each.items():
            raw = _raw(sheets[at].table.column(column).kind)
            found.append(Load(sheets[at].table, (column,), [(raw(value),) for value in values]))
        return found


def _raw(kind: Kind) -> Callable[[Any], Any]:
    return UUID if kind is Kind.UUID else lambda value: value


def _fold_change(handler: Handler, sheet: Sheet, key: Hashable, event: DomainEvent) -> None:
    """The commonest case by far, `(row, event) -> row` of the event's own stream, with nothing it does not need."""
    before = sheet.rows.get(key)
    if before is None and not handler.is_row_optional:
        raise _missing(sheet, key)
    after = handler.change(before, event)  # type: ignore[misc]
    if type(after) is not handler.model:
        _check(handler, after)
    field = sheet.keys.field
    if after is not None and (before is None or field is None or field(before) is not field(after)):
        _check_key(sheet, key, after)
    if sheet.watched:
        sheet.put(key, after)
    else:
        sheet.rows[key] = after


def _fold_plain(handler: Handler, sheet: Sheet, stored: StoredEvent, event: DomainEvent) -> None:
    meta = StoredMetadata(stored) if handler.needs_meta else None
    key: Hashable = stored[3] if handler.is_by_stream else handler.find(stored, event, meta)  # type: ignore[misc]
    before = None
    if handler.source >= 0:
        before = sheet.rows.get(key)
        if before is None and not handler.is_row_optional:
            raise _missing(sheet, key)
    after = handler.call(before, event, meta, ())
    _check(handler, after)
    if after is not None:
        _check_key(sheet, key, after)
    if sheet.watched:
        sheet.put(key, after)
    else:
        sheet.rows[key] = after


def _fold_any(handler: Handler, sheets: Sequence[Sheet], stored: StoredEvent, event: DomainEvent) -> None:
    meta = StoredMetadata(stored) if handler.needs_meta else None
    looked = _looked_up(handler, sheets, stored, event, meta)
    source = sheets[handler.source] if handler.source >= 0 else None
    if handler.each is not None and source is not None:
        for key in _matching(handler.each, source, stored, event, meta):
            before = source.rows[key]
            _take(handler, sheets[handler.target], key, before, handler.call(before, event, meta, looked))
        return
    key = None if handler.find is None else handler.find(stored, event, meta)
    before = None if source is None else source.rows.get(key)
    if before is None and source is not None and not handler.is_row_optional:
        raise _missing(source, key)
    _take(handler, sheets[handler.target], key, before, handler.call(before, event, meta, looked))


def _matching(each: Each, source: Sheet, stored: StoredEvent, event: DomainEvent, meta: Any) -> list[Hashable]:
    value = each.find(stored, event, meta)
    return [] if value is None else source.having(each.column, value)


def _looked_up(
    handler: Handler, sheets: Sequence[Sheet], stored: StoredEvent, event: DomainEvent, meta: Any
) -> tuple[Any, ...]:
    found = []
    for lookup in handler.lookups:
        key = lookup.find(stored, event, meta)
        row = None if key is None else sheets[lookup.sheet].rows.get(key)
        if row is None and not lookup.is_optional:
            raise _missing(sheets[lookup.sheet], key, lookup.parameter)
        found.append(row)
    return tuple(found)


def _take(handler: Handler, target: Sheet, key: Hashable, before: Any, result: Any) -> None:
    """Put what a method returned where it belongs."""
    if handler.is_sequence:
        rows = result if result is None or isinstance(result, ReadModel) else list(result)
        _check(handler, rows)
        for row in rows or ():
            target.put(target.keys.of_row(row), row)
        return
    _check(handler, result)
    if result is not None:
        _check_key(target, key, result)
    target.put(key, result)


def _check(handler: Handler, result: Any) -> None:
    model = handler.model
    if type(result) is model:
        if handler.is_sequence:
            raise _BrokenPromise(f"it returned one {model.__name__} where its annotation promises several")
        return
    if result is None:
        if handler.is_none_allowed:
            return
        raise _BrokenPromise(
            f"it returned None, but its annotation promises {model.__name__}. Return the row; "
            f"annotate `{model.__name__} | None` if the row shall go"
        )
    if handler.is_sequence and isinstance(result, list):
        result = next((row for row in result if not isinstance(row, model)), _ALL_WELL)
    if result is not _ALL_WELL and not isinstance(result, model):
        raise _BrokenPromise(f"it returned a {type(result).__name__} where its annotation promises {model.__name__}")


def _check_key(sheet: Sheet, key: Hashable, after: Any) -> None:
    found = sheet.keys.of_row(after)
    if found != key:
        raise _BrokenPromise(
            f"the row it returned has the key {found}, but its row is {key}. A key never changes: "
            "delete the one row and let another method make the other, or say key="
        )


def _missing(sheet: Sheet, key: Hashable, parameter: str = "row") -> Exception:
    return _BrokenPromise(
        f"there is no row {key} in {sheet.keys.table.name} for its parameter {parameter}. "
        "Was an earlier event not handled? If the row may be new, annotate `| None`"
    )
