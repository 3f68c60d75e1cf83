"""Reads the facts of an application that is imported.

Rule: nothing is made, opened or started; what cannot be read is a problem among the facts, never an exception.
"""

import gc
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

from diptych.app.application import App
from diptych.app.module import Module
from diptych.errors import ConfigurationError
from diptych.handlers import Handlers, signature
from diptych.lint.facts import (
    AggregateFact,
    EventFact,
    Facts,
    MessageFact,
    ProjectionFact,
    ReadModelFact,
    Spot,
    UpcastFact,
)
from diptych.lint.files import shown
from diptych.lint.lock import find_lock
from diptych.lint.schemas import fields_of
from diptych.messages import Command, Query, declared_events, is_parametrised
from diptych.projections.definition import define
from diptych.projections.plan import Definition
from diptych.projections.projection import Projection
from diptych.read.models import ReadModel, table_name
from diptych.write.aggregate import Aggregate, appliers

T = TypeVar("T")

Handled = Mapping[type, list[Spot]]


class Looking:
    """One look at an app. `root` is the folder from which files are named."""

    def __init__(self, app: App, root: Path) -> None:
        self.app, self.root = app, root
        self.problems: list[str] = []
        self.modules = app.everything()

    def facts(self, at: ModuleType, name: str, api: Any | None) -> Facts:
        """Return what the app is made of. It is called `name` in the module `at`."""
        file = getattr(at, "__file__", None) or ""
        definitions = self._definitions()
        aggregates = list(self._aggregates())
        lock = find_lock(Path(file))
        return Facts(
            at=Spot(shown(Path(file), self.root), 1, name, at.__name__),
            has_api=api is not None,
            events=tuple(self._events(definitions.values(), aggregates)),
            messages=tuple(self._messages()),
            aggregates=tuple(aggregates),
            projections=tuple(self._projections(definitions)),
            read_models=tuple(self._read_models()),
            upcasters=tuple(self._upcasters()),
            answered=tuple(_dotted(cls) for cls in getattr(api, "exception_handlers", {}) if isinstance(cls, type)),
            files=tuple(sorted(self._files())),
            problems=tuple(self.problems),
            events_lock=lock.read_text("utf-8") if lock.is_file() else "",
        )

    def spot(self, thing: Any) -> Spot | None:
        """Return where a class or function was written; None where that is no file, or inside another function."""
        target = inspect.unwrap(thing)
        target = getattr(target, "__func__", target)
        name, module = getattr(target, "__qualname__", ""), getattr(target, "__module__", "")
        try:
            path = inspect.getsourcefile(target)
        except TypeError:
            return None
        if path is None or not name:
            return None
        code = getattr(target, "__code__", None)
        return Spot(shown(Path(path), self.root), code.co_firstlineno if code is not None else 0, name, module)

    def _events(self, definitions: Iterable[Definition], aggregates: list[AggregateFact]) -> Iterator[EventFact]:
        used = {event for definition in definitions for event in definition.events}
        applied = {name for aggregate in aggregates for name in aggregate.events}
        for cls in sorted(_own(declared_events()), key=_dotted):
            spot = self.spot(cls)
            if spot is not None:
                is_base = bool(cls.__subclasses__()) and cls not in used and spot.dotted not in applied
                is_closed = cls.model_config.get("extra") == "forbid"
                fields = fields_of(cls)
                names = (cls.event_name, cls.schema_version)
                yield EventFact(*names, spot, fields, is_closed, is_base, cls.is_inert)

    def _messages(self) -> Iterator[MessageFact]:
        kinds: tuple[tuple[Literal["command", "query"], type[Any]], ...] = (("command", Command), ("query", Query))
        for kind, base in kinds:
            mine = self._handled(self.modules, kind)
            loose, others = self._handled(_loose(), kind), self._handled(_of_apps(), kind)
            for cls in sorted(_own(_family(base)), key=_dotted):
                spot = None if is_parametrised(cls) else self.spot(cls)
                if spot is not None and (mine[cls] or not others[cls]):
                    is_base = any(not is_parametrised(each) for each in cls.__subclasses__())
                    yield MessageFact(kind, spot, tuple(mine[cls]), tuple(loose[cls]), is_base)

    def _handled(self, modules: Iterable[Module], kind: str) -> Handled:
        """The handlers of each message, each once, in the order they were registered."""
        found: defaultdict[type, list[Spot]] = defaultdict(list)
        for module in modules:
            handlers: Handlers = module.command_handlers if kind == "command" else module.query_handlers
            for message, handler in self._each(handlers):
                target = getattr(handler, "handle", handler)
                spot = self.spot(target)
                if spot is not None and spot not in found[message]:
                    found[message].append(spot)
        return found

    def _each(self, handlers: Handlers) -> Iterator[tuple[type, Any]]:
        for message, handler, _ in handlers.items():
            yield message, handler
        for handler, names in handlers.decorated:
            try:
                read = signature(handler, names)
            except (NameError, TypeError) as error:
                self.problems.append(str(error))
                continue
            if read.message is not None and isinstance(read.message.annotation, type):
                yield read.message.annotation, handler
            else:
                self.problems.append(f"{read.where} takes no message")

    def _aggregates(self) -> Iterator[AggregateFact]:
        for cls in sorted(_own(_family(Aggregate)), key=_dotted):
            spot = self.spot(cls)
            try:
                events = tuple(_dotted(event) for event in appliers(cls))
            except ConfigurationError as error:
                self.problems += error.problems
                continue
            if spot is not None:
                yield AggregateFact(spot, tuple(_dotted(base) for base in cls.__mro__[1:-1]), events)

    def _definitions(self) -> dict[type, Definition]:
        found = {}
        for cls, mode in {cls: mode for one in self.modules for cls, mode in one.projected.items()}.items():
            try:
                found[cls if isinstance(cls, type) else type(cls)] = define(cls, mode)
            except ConfigurationError as error:
                self.problems += error.problems
        return found

    def _projections(self, definitions: Mapping[type, Definition]) -> Iterator[ProjectionFact]:
        elsewhere = {cls for module in _of_apps() for cls in module.projected}
        for cls in sorted(_own(_family(Projection)), key=_dotted):
            spot, definition = self.spot(cls), definitions.get(cls)
            if spot is None or (definition is None and (cls in elsewhere or cls.__subclasses__())):
                continue
            takes = tuple(sorted(definition.takes)) if definition is not None else ()
            owns = tuple(table.name for table in definition.tables.tables) if definition is not None else ()
            yield ProjectionFact(spot, definition is not None, takes, owns)

    def _read_models(self) -> Iterator[ReadModelFact]:
        for cls in sorted(_own(_family(ReadModel)), key=_dotted):
            spot = self.spot(cls)
            if spot is not None:
                yield ReadModelFact(table_name(cls), spot, bool(cls.__subclasses__()) or not cls.model_fields)

    def _upcasters(self) -> Iterator[UpcastFact]:
        for module in self.modules:
            for stored_name, version, upcaster in module.upcasters.items():
                spot = self.spot(upcaster)
                if spot is not None:
                    yield UpcastFact(stored_name, version, spot)

    def _files(self) -> Iterator[str]:
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and Path(file).is_relative_to(self.root):
                yield shown(Path(file), self.root)


def _family(cls: type[T]) -> set[type[T]]:
    found = set[type[T]]()
    waiting = list(cls.__subclasses__())
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += each.__subclasses__()
    return found


def _own(classes: Iterable[type[T]]) -> list[type[T]]:
    """Classes that their module still calls by their name, and that are not Diptych's."""
    return [cls for cls in classes if cls.__module__.partition(".")[0] != "diptych" and _is_current(cls)]


def _is_current(cls: type) -> bool:
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls


def _of_apps() -> list[Module]:
    """The modules of every app that was made while this one was imported, each app itself among them."""
    return [module for one in gc.get_objects() if isinstance(one, App) for module in one.everything()]


def _loose() -> list[Module]:
    """Modules that no app includes."""
    included = _of_apps()
    return [one for one in gc.get_objects() if isinstance(one, Module) and one not in included]


def _dotted(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
