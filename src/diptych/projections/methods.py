"""From one method's annotations to its handler.

Rule: what a method may do is decided here, before the first event; the fold only checks what it returns.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from diptych.events.recorded import StoredEvent
from diptych.handlers import On, Parameter, Signature, signature, where
from diptych.messages import DomainEvent, Metadata
from diptych.projections.keys import RowKeys, comparable
from diptych.projections.plan import Each, Find, Handler, Lookup
from diptych.read.models import Key, ReadModel
from diptych.store.tables import Kind


class Faults:
    """What is wrong so far, one sentence each."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, place: str, what: str, instead: str) -> None:
        """Note a fault: where, what, and what to write instead."""
        self.sentences.append(f"{place}: {what}; {instead.rstrip('.')}.")


class Models(NamedTuple):
    """The read models a projection owns, each with the number of its sheet."""

    at: Mapping[type[ReadModel], int]
    sheets: Sequence[RowKeys]


class _Refused(Exception):  # noqa: N818 - becomes a sentence in a ConfigurationError
    """A fault of this method; its sentence in two parts."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(what, instead)
        self.what, self.instead = what, instead


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
        if inspect.iscoroutinefunction(function):
            raise _Refused("it is async", "a projection's method is a plain function: write `def`")
        read = signature(function, mark.names, skip=1)
        return _handler(method, read, mark, models)
    except _Refused as refused:
        faults.add(place, refused.what, refused.instead)
    except (NameError, TypeError) as error:
        faults.add(place, str(error).removeprefix(f"{place}: "), "annotate each parameter with a name known there")
    return None


def _handler(method: Callable[..., Any], read: Signature, mark: On, models: Models) -> Handler:
    draft = _parameters(read, models)
    model, is_sequence, is_none_allowed = _returned(read.returns, models)
    if is_sequence and draft.row is model:
        raise _Refused(
            f"it takes one {model.__name__} and returns several, so which is the row it took?",
            "return one row, or leave out the row",
        )
    source = -1 if draft.row is None else models.at[draft.row]
    target = models.at[model]
    each = _each(mark, draft, models)
    needs_key = each is None and not (is_sequence and source < 0)
    by_stream = mark.key is None
    find = _find(mark.key, models.sheets[target if source < 0 else source], draft.events) if needs_key else None
    if each is None and not needs_key and not by_stream:
        raise _Refused("it returns several rows, each with its own key", "leave out key=")
    is_plain = not (is_sequence or each or draft.looked or source not in (-1, target))
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
        change=method if is_plain and by_stream and draft.roles == ["row", "event"] else None,
    )


def _parameters(read: Signature, models: Models) -> _Draft:
    draft = _Draft()
    for parameter in read.parameters:
        _parameter(parameter, draft, models)
    if not draft.events:
        raise _Refused("it takes no event", "annotate one parameter with a DomainEvent class")
    return draft


def _parameter(parameter: Parameter, draft: _Draft, models: Models) -> None:
    marker = None
    hint = parameter.annotation
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        marker = next((note for note in notes if isinstance(note, Key)), None)
    kinds, is_optional = _members(hint)
    if marker is not None and len(kinds) == 1 and kinds[0] in models.at:
        draft.roles.append(len(draft.looked))
        draft.looked.append((parameter.name, kinds[0], is_optional, marker.fields))
    elif kinds == (Metadata,):
        draft.needs_meta = True
        draft.roles.append("meta")
    elif kinds and all(isinstance(kind, type) and issubclass(kind, DomainEvent) for kind in kinds):
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


def _not_owned(model: type) -> _Refused:
    return _Refused(
        f"{model.__name__} is not in this projection's brackets",
        f"write Projection[... | {model.__name__}], if no other projection owns it",
    )


def _members(hint: Any) -> tuple[tuple[Any, ...], bool]:
    """Return the members of a union without None, and whether None was among them."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return tuple(member for member in members if member is not NoneType), NoneType in members


def _returned(returns: Any, models: Models) -> tuple[type[ReadModel], bool, bool]:
    kinds, is_none_allowed = _members(returns)
    if returns is inspect.Signature.empty or not kinds:
        raise _Refused("it does not say what it returns", "annotate the read model, with `| None` if the row may go")
    if len(kinds) > 1:
        raise _Refused("it returns more than one kind", "write one method for each read model")
    kind, is_sequence = kinds[0], False
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Iterable):
        kind, is_sequence = get_args(kind)[0], True
    if kind not in models.at:
        if isinstance(kind, type) and issubclass(kind, ReadModel):
            raise _not_owned(kind)
        raise _Refused(f"it returns {kind!r}, which is no read model", "return a row, rows, or None")
    return kind, is_sequence, is_none_allowed


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
    canonical = comparable(keys.table.column(column).kind)
    if all(column in event.model_fields for event in draft.events):
        value = attrgetter(column)
        return Each(column, lambda _stored, event, _meta: None if value(event) is None else canonical(value(event)))
    if keys.table.column(column).kind is not Kind.UUID:
        raise _Refused(f"the event has no field {column}, and the stream's id is a UUID", "give the event that field")
    return Each(column, _stream_id)


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
    count = len(keys.table.key)

    def find(_stored: StoredEvent, event: Any, meta: Any) -> Any:
        found = function(event, meta)
        values = found if isinstance(found, tuple) else (found,)
        if len(values) != count or None in values:
            raise ValueError(f"its key function returned {found!r} for the key ({', '.join(keys.table.key)})")
        return keys.of_values(values)

    return find


def _by_fields(
    fields: tuple[str, ...], keys: RowKeys, events: Sequence[type[DomainEvent]], *, may_be_none: bool = False
) -> Find:
    for event in events:
        absent = [name for name in fields if name not in event.model_fields]
        if absent:
            raise _Refused(f"{event.__name__} has no field {absent[0]}", "name a field of the event")
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
    if not fields:
        raise _Refused(f"the look-up {name} says no field", 'write Key("<field of the event>")')
    at = models.at[model]
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
