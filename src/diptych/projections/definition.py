"""From a projection class to its plan, all faults collected and raised together at start.

Rule: every refusal says where, what, and what to write instead.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, get_args, get_origin

from diptych.errors import ConfigurationError
from diptych.handlers import alternatives, annotations, marked, name_of, where
from diptych.messages import DomainEvent, Metadata, declared_events
from diptych.projections.faults import Faults
from diptych.projections.hashing import hash_of
from diptych.projections.keys import RowKeys
from diptych.projections.methods import Models, read_method
from diptych.projections.plan import Definition, Handler, Mode, Script
from diptych.projections.projection import Projection, brackets
from diptych.read.models import ReadModel, table_name, table_of
from diptych.store.batches import ProjectionTables
from diptych.store.tables import check_identifier
from diptych.subscriptions.lanes import LANES


def define(projection: type[Projection[Any]] | Projection[Any], mode: Mode = "async") -> Definition:
    """Compile one projection. :raises ConfigurationError: listing everything that is wrong with it."""
    return define_all([(projection, mode)])[0]


def define_all(projections: Iterable[tuple[type[Projection[Any]] | Projection[Any], Mode]]) -> tuple[Definition, ...]:
    """Compile the projections of an app. :raises ConfigurationError: listing everything wrong with any of them."""
    faults = Faults()
    found = [definition for given, mode in projections if (definition := _compile(given, mode, faults)) is not None]
    _refuse_shared(found, faults)
    if faults.sentences:
        raise ConfigurationError(faults.sentences)
    return tuple(found)


def _compile(given: type[Projection[Any]] | Projection[Any], mode: Mode, faults: Faults) -> Definition | None:
    before = len(faults.sentences)
    cls = given if isinstance(given, type) else type(given)
    instance = _instance(given, faults)
    name = _name(cls, faults)
    models = _models(cls, faults)
    if instance is None or not models:
        return None
    sheets = tuple(RowKeys(table_of(model)) for model in models)
    script = _script(instance, cls, faults)
    methods = marked(cls)
    if script is None and not methods and not hasattr(cls, "handle"):
        faults.add(cls, "it handles no event", "mark a method with @on, or write `async def handle(self, event, db)`")
    if methods and hasattr(cls, "handle"):
        faults.add(cls, "it has both @on methods and its own handle", "keep one of the two, or make it two classes")
    names = Models({model: at for at, model in enumerate(models)}, sheets)
    handlers = [
        handler
        for name_in_class, (function, mark) in methods.items()
        if (handler := read_method(getattr(instance, name_in_class), function, mark, names, faults)) is not None
    ]
    _refuse_twins(handlers, faults)
    if len(faults.sentences) > before:
        return None
    is_isolated = script is None and all(handler.is_isolated for handler in handlers)
    lanes = LANES if is_isolated and mode == "async" else 1
    tables = tuple(keys.table for keys in sheets)
    events = script[1] if script else tuple(dict.fromkeys(event for h in handlers for event in h.events))
    return Definition(
        name=name,
        mode=mode,
        tables=ProjectionTables(name, tables, cls.projection_version, lanes, hash_of(cls)),
        sheets=sheets,
        events=events,
        takes=frozenset(event.event_name for event in events),
        handlers={e.event_name: tuple(h for h in handlers if e in h.events) for e in events},
        watched=tuple(_watched(handlers, at) for at in range(len(sheets))),
        script=script[0] if script else None,
        is_isolated=is_isolated,
        projection=cls,
    )


def _watched(handlers: Sequence[Handler], sheet: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(h.each.column for h in handlers if h.each and h.source == sheet))


def _instance(given: Any, faults: Faults) -> Any:
    cls = given if isinstance(given, type) else type(given)
    if not issubclass(cls, Projection):
        faults.add(cls, "this is not a projection", "inherit from Projection[YourReadModel]")
        return None
    try:
        return given() if isinstance(given, type) else given
    except Exception as error:
        faults.add(cls, f"it cannot be made without arguments ({error})", "leave out __init__; a projection is pure")
        return None


def _name(cls: type[Any], faults: Faults) -> str:
    name: str = getattr(cls, "projection_name", None) or table_name(cls)
    try:
        return check_identifier(name, "The projection name")
    except ValueError as error:
        faults.add(cls, str(error).rstrip("."), 'say `class ...(Projection[...], name="...")`')
        return name


def _models(cls: type, faults: Faults) -> list[type[ReadModel]]:
    arguments = brackets(cls)
    found = []
    for argument in arguments:
        if not (isinstance(argument, type) and issubclass(argument, ReadModel)):
            faults.add(cls, f"Projection[...] holds {argument!r}", "list read models there, joined by |")
            continue
        try:
            table_of(argument)
        except TypeError as error:
            faults.add(cls, f"{argument.__name__} cannot be a table", str(error))
            continue
        found.append(argument)
    if not arguments:
        faults.add(cls, "it does not say which read models it owns", "inherit from Projection[YourReadModel]")
    return found


def _script(instance: Any, cls: type[Any], faults: Faults) -> tuple[Script, tuple[type[DomainEvent], ...]] | None:
    function = getattr(cls, "handle", None)
    if function is None:
        return None
    place = where(function)
    if not inspect.iscoroutinefunction(function):
        faults.add(place, "handle is not async", "write `async def handle(self, event, db)`")
        return None
    try:
        hints = annotations(function, cls.projection_names)
    except (NameError, TypeError) as error:
        faults.add(place, str(error), "import it, or define it before the class")
        return None
    parameters = list(inspect.signature(function).parameters.values())[1:]
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    meta = next((name for name in names if hints.get(name) is Metadata), None)
    plain = [name for name in names if name != meta]
    if len(plain) != 2 or len(names) != len(parameters):
        faults.add(place, "it must take an event and a db", "write `async def handle(self, event, db)`")
        return None
    events = _script_events(hints.get(plain[0]), place, faults)
    return Script(_script_call(function.__get__(instance), plain, meta), place), events


def _script_call(method: Callable[..., Any], plain: list[str], meta: str | None) -> Callable[[Any, Any, Any], Any]:
    event_name, db_name = plain

    def call(event: Any, metadata: Any, db: Any) -> Any:
        arguments = {event_name: event, db_name: db}
        if meta is not None:
            arguments[meta] = metadata
        return method(**arguments)

    return call


def _script_events(hint: Any, place: str, faults: Faults) -> tuple[type[DomainEvent], ...]:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if hint is None or hint is Any or hint is DomainEvent:
        return declared_events()
    named = alternatives(hint)
    wrong = [one for one in named if not (isinstance(one, type) and issubclass(one, DomainEvent))]
    if wrong:
        faults.add(
            place, f"{name_of(wrong[0])} is not an event", "annotate `event` with DomainEvent classes, joined by |"
        )
    return tuple(one for one in named if one not in wrong)


def _refuse_twins(handlers: Sequence[Handler], faults: Faults) -> None:
    seen: dict[tuple[type, type], Handler] = {}
    for handler in handlers:
        for event in handler.events:
            first = seen.setdefault((event, handler.model), handler)
            if first is not handler:
                what = f"{event.__name__} already changes {handler.model.__name__} in {first.name}"
                faults.add(handler.where, what, "make one method of the two")


def _twice(definition: Definition) -> list[str]:
    names = [table.name for table in definition.tables.tables]
    return sorted({name for name in names if names.count(name) > 1})


def _refuse_shared(definitions: Sequence[Definition], faults: Faults) -> None:
    owners: dict[str, Definition] = {}
    names: dict[str, Definition] = {}
    for definition in definitions:
        for twin in _twice(definition):
            what = f"two of its read models have the table {twin}"
            faults.add(definition.where, what, "give one of the classes another name")
        first = names.setdefault(definition.name, definition)
        if first is not definition:
            what = f"the name {definition.name} is taken by {first.where}"
            faults.add(definition.where, what, 'say `class ...(Projection[...], name="...")`')
        for table in definition.tables.tables:
            owner = owners.setdefault(table.name, definition)
            if owner is not definition:
                what = f"the table {table.name} is owned by {owner.where}"
                faults.add(definition.where, what, "make it one projection, or give each its own read model")
