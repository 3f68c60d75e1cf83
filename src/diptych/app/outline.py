"""What an app is made of, read from what it declares.

Rule: nothing is made, opened or started here, and a fault is collected with all others.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from diptych.app.application import App
from diptych.app.known_duties import KnownDuty, known_duties, namesakes
from diptych.errors import ConfigurationError, TwoHandlersError, UpcastError
from diptych.events.codec import Codec
from diptych.events.upcasting import Upcasters
from diptych.handlers import at, signature, where
from diptych.projections.definition import define_all
from diptych.projections.plan import Definition
from diptych.sagas.stepped import SagaStepped
from diptych.write.aggregate import Aggregate, appliers
from diptych.write.repository import Repository


class Outline(NamedTuple):
    """`aggregates` are by stored name: those that handlers ask for. `problems` are what a start would refuse."""

    aggregates: Mapping[str, type[Aggregate]]
    definitions: tuple[Definition, ...]
    codec: Codec
    problems: list[str]
    duties: tuple[KnownDuty, ...] = ()

    def aggregate(self, category: str) -> type[Aggregate] | None:
        """Return the aggregate that is stored in this category, whether or not a handler asks for it by annotation."""
        named = [cls for cls in _subclasses(Aggregate) if cls.aggregate_name == category]
        return self.aggregates.get(category) or (named[0] if len(named) == 1 else None)


def outline(app: App) -> Outline:
    """Read an app. Never raises for its faults: they are in `problems`."""
    problems: list[str] = []
    codec, definitions = Codec(_upcasters(app, problems)), tuple[Definition, ...]()
    aggregates = _aggregates(app, problems)
    problems += _twice(app)
    try:
        modes = {cls: mode for module in app.everything() for cls, mode in module.projected.items()}
        definitions = define_all(modes.items())
    except ConfigurationError as error:
        problems += error.problems
    events = [event for cls in aggregates.values() for event in appliers(cls)]
    events += [event for definition in definitions for event in definition.events]
    duties = known_duties(app.everything(), problems)
    problems += namesakes([(duty.name, duty.kept) for duty in duties], definitions)
    events += [*(event for duty in duties for event in duty.events), SagaStepped]
    for event in dict.fromkeys(events):
        try:
            codec.register(event)
        except ConfigurationError as error:
            problems += error.problems
    return Outline(aggregates, definitions, codec, problems, duties)


def _upcasters(app: App, problems: list[str]) -> Upcasters:
    found = Upcasters()
    for module in app.everything():
        try:
            found.update(module.upcasters)
        except UpcastError as error:
            problems.append(str(error))
    return found


def _aggregates(app: App, problems: list[str]) -> dict[str, type[Aggregate]]:
    found: dict[str, type[Aggregate]] = {}
    for cls in _asked_for(app, problems):
        known = found.get(cls.aggregate_name, cls)
        if known is not cls:
            problems.append(f"{where(cls)}: {where(known)} is stored under the same name, {cls.aggregate_name}.")
            continue
        try:
            appliers(cls)
        except ConfigurationError as error:
            problems += error.problems
            continue
        found[cls.aggregate_name] = cls
    return found


def _asked_for(app: App, problems: list[str]) -> Iterator[type[Aggregate]]:
    """Yield the aggregates of the repositories that command handlers have as parameters."""
    for module in app.everything():
        handlers = [(handler, names) for _, handler, names in module.command_handlers.items()]
        for handler, names in [*handlers, *module.command_handlers.decorated]:
            function = getattr(handler, "handle", handler)
            try:
                read = signature(function, names)
            except (NameError, TypeError) as error:
                problems.append(at(function, error))
                continue
            for parameter in read.parameters[1:]:
                found: Any = (
                    get_args(parameter.annotation)[:1] if get_origin(parameter.annotation) is Repository else ()
                )
                if found and isinstance(found[0], type) and issubclass(found[0], Aggregate):
                    yield found[0]


def _twice(app: App) -> Iterator[str]:
    """Yield what a start says of messages with two handlers, of one module or of two."""
    first: dict[type, Any] = {}
    sides = [side for module in app.everything() for side in (module.command_handlers, module.query_handlers)]
    for message, handler in (one for side in sides for one in side.by_message()):
        known = first.setdefault(message, handler)
        if known is not handler:
            yield from TwoHandlersError(message.__name__, where(known), where(handler)).problems


def _subclasses(cls: type[Aggregate]) -> Iterator[type[Aggregate]]:
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)
