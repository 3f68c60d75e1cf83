"""From one method's annotations to its handler.

Rule: what a method may do is decided here, before the first event; the fold only checks what it returns.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from types import FunctionType, NoneType
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin
from uuid import UUID

from diptych.events.recorded import StoredEvent
from diptych.handlers import On, Parameter, Signature, alternatives, marked, name_of, signature, where
from diptych.messages import DomainEvent, Metadata
from diptych.projections.faults import Faults
from diptych.projections.keys import RowKeys, comparable
from diptych.projections.plan import Each, Find, Handler, Lookup
from diptych.read.columns import column_of, unwrap
from diptych.read.models import Key, ReadModel
from diptych.store.tables import Column, Kind

_COMPARABLE: Final = {
    (Kind.INTEGER, Kind.DECIMAL), (Kind.INTEGER, Kind.REAL), (Kind.BOOLEAN, Kind.INTEGER),
}  # fmt: skip


class Models(NamedTuple):
    """The read models a projection owns, each with the number of its sheet."""

    at: Mapping[type[ReadModel], int]
    sheets: Sequence[RowKeys]


class _Refused(Exception):  # noqa: N818 - becomes a sentence in a ConfigurationError
    """A fault of this method; its sentence in two parts."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(what, instead)
        self.what, self.instead = what, instead


class _Misfit(_Refused):
    """One that is found when the class is made: what the method takes or returns is no row of this projection."""


class _Draft:
    """What the parameters of a method say."""

    def __init__(self) -> None:
        self.events: tuple[type[DomainEvent], ...] = ()
        self.row: type[ReadModel] | None = None
        self.is_row_optional = self.needs_meta = False
        self.looked: list[tuple[str, type[ReadModel], bool, tuple[str, ...]]] = []
        self.roles: list[str | int] = []


def read_method(
    method: Callable[..., Any], function: Callable[..., Any], mark: On, models: Models, faults: Faults
) -> Handler | None:
    """Compile one method marked `@on`, or note what is wrong with it."""
    place = where(function)
    try:
        _refuse_unusual(function)
        read = signature(function, mark.names, skip=1)
        handler = _handler(method, read, mark, models)
        if inspect.isgeneratorfunction(function) and not handler.is_sequence:
            raise _Refused("it yields rows and promises one", "annotate Iterator[...], or return the row")
        return handler
    except _Refused as refused:
        faults.add(place, refused.what, refused.instead)
    except (NameError, TypeError) as error:
        faults.add(place, str(error).removeprefix(f"{place}: "), "annotate each parameter with a name known there")
    return None


def misfits(cls: type, owned: Sequence[type[ReadModel]]) -> Sequence[str]:
    """Say which methods marked `@on` are async, return no row of these, or not of the one whose row they take.

    What names something that is not there yet is left to the start, and so is every other fault.
    """
    faults, names = Faults(), Models({model: at for at, model in enumerate(owned)}, ())
    for function, mark in marked(cls).values():
        try:
            _refuse_unusual(function)
            read = signature(function, mark.names, skip=1)
            _promised(read, names)
        except _Misfit as misfit:
            faults.add(where(function), misfit.what, misfit.instead)
        except (_Refused, NameError, TypeError):
            continue
    return faults.sentences


def _refuse_unusual(function: Callable[..., Any]) -> None:
    if not isinstance(function, FunctionType):
        raise _Refused("it is not a plain method", "mark `def name(self, event: ...)` with @on, and nothing else")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise _Misfit("it is async", "a projection's method is a plain function: write `def`")
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise _Refused(f"it takes {name} by keyword only", "leave out the * among its parameters")


def _handler(method: Callable[..., Any], read: Signature, mark: On, models: Models) -> Handler:
    draft, (model, is_sequence, is_none_allowed) = _promised(read, models)
    if is_sequence and draft.row is model:
        raise _Refused(
            f"it takes one {model.__name__} and returns several, so which is the row it took?",
            "return one row, or leave out the row",
        )
    source = -1 if draft.row is None else models.at[draft.row]
    target = models.at[model]
    each = _each(mark, draft, models)
    needs_key = each is None and not is_sequence
    by_stream = mark.key is None
    find = _find(mark.key, models.sheets[target], draft.events) if needs_key else None
    if each is None and not needs_key and not by_stream:
        raise _Refused("it returns several rows, each with its own key", "leave out key=")
    is_plain = not (is_sequence or each or draft.looked)
    return Handler(
        call=_caller(method, draft.roles),
        where=read.where,
        name=read.where.rsplit(" ", 1)[-1],
        events=draft.events,
        model=model,
        source=source,
        target=target,
        find=find,
        each=each,
        lookups=tuple(_lookup(*looked, models, draft.events) for looked in draft.looked),
        is_row_optional=draft.is_row_optional,
        is_none_allowed=is_none_allowed,
        is_sequence=is_sequence,
        needs_meta=draft.needs_meta or callable(mark.key),
        is_by_stream=by_stream,
        is_plain=is_plain,
        is_isolated=is_plain and by_stream,
        change=method if is_plain and by_stream and draft.roles == ["row", "event"] else None,
    )


def _promised(read: Signature, models: Models) -> tuple[_Draft, tuple[type[ReadModel], bool, bool]]:
    """Return what a method takes and what it returns. A row that it takes is the one it returns."""
    returned = _returned(read.returns, models)
    draft, model = _parameters(read, models), returned[0]
    if draft.row not in (None, model):
        name = read.parameters[[*draft.roles].index("row")].name
        taken = f"{draft.row.__name__} | None" if draft.is_row_optional else draft.row.__name__
        raise _Misfit(
            f"it takes a row of {draft.row.__name__} and returns one of {model.__name__}",
            f"return the row it takes, or make that a look-up: `{name}: Annotated[{taken}, Key]`",
        )
    return draft, returned


def _parameters(read: Signature, models: Models) -> _Draft:
    draft = _Draft()
    for parameter in read.parameters:
        _parameter(parameter, draft, models)
    if not draft.events:
        raise _Refused("it takes no event", "annotate one parameter with a DomainEvent class")
    return draft


def _parameter(parameter: Parameter, draft: _Draft, models: Models) -> None:
    marker: Key | None = None
    hint = parameter.annotation
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        marks = [note if isinstance(note, Key) else Key() for note in notes if note is Key or isinstance(note, Key)]
        marker = marks[0] if marks else None
    kinds, is_optional = _members(hint)
    if marker is not None and len(kinds) == 1 and kinds[0] in models.at:
        draft.roles.append(len(draft.looked))
        draft.looked.append((parameter.name, kinds[0], is_optional, marker.fields))
    elif kinds == (Metadata,):
        draft.needs_meta = True
        draft.roles.append("meta")
    elif kinds and all(isinstance(kind, type) and issubclass(kind, DomainEvent) for kind in kinds):
        if draft.events or is_optional or DomainEvent in kinds:
            raise _Refused(
                f"parameter {parameter.name} is not one event", "name its classes, joined by |, without None"
            )
        draft.events = kinds
        draft.roles.append("event")
    elif len(kinds) == 1 and kinds[0] in models.at and draft.row is None:
        draft.row, draft.is_row_optional = kinds[0], is_optional
        draft.roles.append("row")
    elif len(kinds) == 1 and isinstance(kinds[0], type) and issubclass(kinds[0], ReadModel):
        raise _not_owned_or_second(parameter.name, kinds[0], models)
    else:
        raise _Refused(
            f"parameter {parameter.name} is nothing a projection can have",
            "it may take its row, an event, `meta: Metadata` and look-ups in its own tables",
        )


def _not_owned_or_second(name: str, model: type, models: Models) -> _Refused:
    if model in models.at:
        look_up = f'`{name}: Annotated[{model.__name__} | None, Key("<field of the event>")]`'
        return _Refused(f"{name} is a second row", f"make it a look-up: {look_up}")
    return _not_owned(model)


def _not_owned(model: type) -> _Misfit:
    return _Misfit(
        f"{model.__name__} is not in this projection's brackets",
        f"write Projection[... | {model.__name__}], if no other projection owns it",
    )


def _members(hint: Any) -> tuple[tuple[Any, ...], bool]:
    """Return the members of a union without None, and whether None was among them."""
    members = alternatives(hint)
    return tuple(member for member in members if member is not NoneType), NoneType in members


def _returned(returns: Any, models: Models) -> tuple[type[ReadModel], bool, bool]:
    kinds, is_none_allowed = _members(returns)
    if returns is inspect.Signature.empty or not kinds:
        raise _Misfit("it does not say what it returns", "annotate the read model, with `| None` if the row may go")
    if len(kinds) > 1:
        raise _Refused("it returns more than one kind", "write one method for each read model")
    kind, is_sequence = kinds[0], False
    item = _item(kind)
    if item is not None:
        kind, is_sequence = item, True
    if kind not in models.at:
        if isinstance(kind, type) and issubclass(kind, ReadModel):
            raise _not_owned(kind)
        raise _Misfit(f"it returns {name_of(kind)}, which is no read model", "return a row, rows, or None")
    return kind, is_sequence, is_none_allowed


def _item(kind: Any) -> Any:
    """Return what a sequence holds, if it says so and holds one kind."""
    origin, held = get_origin(kind), [each for each in get_args(kind) if each is not Ellipsis]
    if not (isinstance(origin, type) and issubclass(origin, Iterable)) or issubclass(origin, Mapping) or not held:
        return None
    return held[0] if origin is not tuple or all(each == held[0] for each in held) else None


def _each(mark: On, draft: _Draft, models: Models) -> Each | None:
    if mark.each is None:
        return None
    column = mark.each
    if mark.key is not None:
        raise _Refused("it says both key= and each=", "keep one of the two")
    if draft.row is None or draft.is_row_optional:
        raise _Refused("each= needs the row", "take the row as a parameter, without `| None`")
    keys = models.sheets[models.at[draft.row]]
    if column not in draft.row.model_fields:
        raise _Refused(f"{draft.row.__name__} has no column {column}", "name a column of the row")
    kind = keys.table.column(column).kind
    canonical = comparable(kind)
    has_field = {event for event in draft.events if column in event.model_fields}
    for event in has_field:
        _refuse_other_type(event, column, keys.table.column(column))
    if kind is Kind.JSON:
        raise _Refused(f"{column} is kept as JSON and is not compared", "give what each= looks for a column of its own")
    if len(has_field) < len(draft.events) and kind is not Kind.UUID:
        raise _Refused(f"the event has no field {column}, and the stream's id is a UUID", "give the event that field")

    def find(stored: StoredEvent, event: Any, _meta: Any) -> Any:
        value = getattr(event, column) if type(event) in has_field else stored[3]
        return None if value is None else canonical(value)

    return Each(column, find if has_field else _stream_id)


def _stream_id(stored: StoredEvent, _event: Any, _meta: Any) -> str:
    return stored[3]


def _find(key: Any, keys: RowKeys, events: Sequence[type[DomainEvent]]) -> Find:
    table = keys.table
    if key is None:
        if len(table.key) != 1 or table.column(table.key[0]).kind is not Kind.UUID:
            raise _Refused(
                f"a row of {table.name} is found by {', '.join(table.key)}, which is not the stream's id",
                "say `@on(key=...)`: a field of the event, several, or a function of (event, meta)",
            )
        return _stream_id
    if callable(key):
        return _by_function(key, keys)
    return _by_fields((key,) if isinstance(key, str) else tuple(key), keys, events)


def _by_function(function: Callable[..., Any], keys: RowKeys) -> Find:
    are_uuids = [keys.table.column(name).kind is Kind.UUID for name in keys.table.key]
    _refuse_other_arguments(function)

    def find(_stored: StoredEvent, event: Any, meta: Any) -> Any:
        found = function(event, meta)
        values = found if isinstance(found, tuple) else (found,)
        if len(values) != len(are_uuids) or None in values or not _are_keys(values, are_uuids):
            raise ValueError(f"its key function returned {found!r} for the key ({', '.join(keys.table.key)})")
        return keys.of_values(values)

    return find


def _are_keys(values: tuple[Any, ...], are_uuids: Sequence[bool]) -> bool:
    return all(isinstance(value, UUID) or not is_uuid for value, is_uuid in zip(values, are_uuids, strict=True))


def _refuse_other_arguments(function: Callable[..., Any]) -> None:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise _Refused("its key function does not take (event, meta)", "write `key=lambda event, meta: ...`") from error
    except ValueError:  # one of those written in C says nothing of itself
        return


def _refuse_other_type(event: type[DomainEvent], name: str, column: Column) -> None:
    """Refuse a field of the event that can never equal the column, as far as both say what they are."""
    field = event.model_fields[name]
    try:
        given = column_of(event.__name__, name, field)
    except TypeError:  # no column's type at all: it is judged with each value
        return
    is_member = given.to_plain is not None and not issubclass(unwrap(field.annotation).type, str | int)
    fits = given.kind is column.kind or (given.kind, column.kind) in _COMPARABLE
    if not fits or (column.to_plain is None and is_member) or (column.to_plain is not None and given.to_plain is None):
        raise _Refused(
            f"{event.__name__}.{name} is {given.kind.value} and {column.name} is {column.kind.value}, never equal",
            "name a field of the same type",
        )


def _by_fields(
    fields: tuple[str, ...], keys: RowKeys, events: Sequence[type[DomainEvent]], *, may_be_none: bool = False
) -> Find:
    for event in events:
        absent = [name for name in fields if name not in event.model_fields]
        if absent:
            raise _Refused(f"{event.__name__} has no field {absent[0]}", "name a field of the event")
        for name, column in zip(fields, keys.table.key, strict=False):
            _refuse_other_type(event, name, keys.table.column(column))
    if len(fields) != len(keys.table.key):
        raise _Refused(
            f"the key of {keys.table.name} is ({', '.join(keys.table.key)}), not ({', '.join(fields)})",
            "name one field of the event for each column of the key, in that order",
        )
    getters = [attrgetter(name) for name in fields]
    of_values = keys.of_values

    def find(_stored: StoredEvent, event: Any, _meta: Any) -> Any:
        values = tuple(get(event) for get in getters)
        if None in values:
            if may_be_none:
                return None
            raise ValueError(f"the key ({', '.join(fields)}) of its row is None")
        return of_values(values)

    return find


def _lookup(
    name: str,
    model: type[ReadModel],
    is_optional: bool,
    fields: tuple[str, ...],
    models: Models,
    events: Sequence[type[DomainEvent]],
) -> Lookup:
    at = models.at[model]
    if not fields:
        table = models.sheets[at].table
        if len(table.key) != 1 or table.column(table.key[0]).kind is not Kind.UUID:
            raise _Refused(f"the look-up {name} says no field", 'write Key("<field of the event>")')
        return Lookup(at, _stream_id, is_optional, name)
    return Lookup(at, _by_fields(fields, models.sheets[at], events, may_be_none=is_optional), is_optional, name)


def _caller(method: Callable[..., Any], roles: Sequence[str | int]) -> Callable[[Any, Any, Any, tuple[Any, ...]], Any]:
    """Return a function that passes on what the method asks for, in its order."""
    match list(roles):
        case ["event"]:
            return lambda _row, event, _meta, _looked: method(event)
        case ["row", "event"]:
            return lambda row, event, _meta, _looked: method(row, event)
        case ["event", "meta"]:
            return lambda _row, event, meta, _looked: method(event, meta)
        case ["row", "event", "meta"]:
            return lambda row, event, meta, _looked: method(row, event, meta)

    def call(row: Any, event: Any, meta: Any, looked: tuple[Any, ...]) -> Any:
        given = {"row": row, "event": event, "meta": meta}
        return method(*(looked[role] if isinstance(role, int) else given[role] for role in roles))

    return call
