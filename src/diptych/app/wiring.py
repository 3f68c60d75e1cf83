"""From what was registered to what can be called, every fault collected and none hidden behind another."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import date
from decimal import Decimal
from typing import Any, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from diptych.clock import Clock, SystemClock
from diptych.errors import ConfigurationError, DiptychError
from diptych.events.codec import Codec
from diptych.handlers import Handlers, Signature, at, is_async, name_of, signature, where
from diptych.messages import Command, Query, is_parametrised, result_type
from diptych.providing import MissingError, Providers
from diptych.read.bus import QueryBus, Reading
from diptych.read.models import ReadModel
from diptych.read.read_models import ReadModels
from diptych.store.protocols import EventStore, ViewStore
from diptych.write.aggregate import Aggregate, appliers
from diptych.write.bus import CommandBus, bound
from diptych.write.repository import Repository
from diptych.write.unit_of_work import apart

_WRITE_SIDE: tuple[Any, ...] = (Repository, CommandBus, EventStore)
_READ_SIDE: tuple[Any, ...] = (ReadModels, QueryBus, ViewStore)


class Wired:
    """What came out: calls by message type, and the faults, each `file:line function: what; what to write`."""

    def __init__(self) -> None:
        self.commands: dict[type, Callable[[Any], Awaitable[Any]]] = {}
        self.queries: dict[type, Reading] = {}
        self.aggregates: dict[str, type[Aggregate]] = {}
        self.problems: list[str] = []


class Wiring:
    """Wires the handlers of one app. Makes what is provided, once."""

    def __init__(self, providers: Providers, codec: Codec, buses: tuple[CommandBus, QueryBus]) -> None:
        self._providers, self._codec = providers, codec
        self._commands, self._queries = buses
        self.wired = Wired()

    async def commands(self, handlers: Handlers, stack: AsyncExitStack) -> None:
        """Wire all command handlers."""
        for message, handler, names in self._declared(handlers, Command):
            read = self._read(message, handler, names)
            arguments = None if read is None else await self._arguments(read, self._write_side, stack)
            if arguments is not None:
                self.wired.commands[message] = bound(_function(handler), arguments)

    async def queries(self, handlers: Handlers, stack: AsyncExitStack) -> None:
        """Wire all query handlers; `ReadModels` is given with each query."""
        for message, handler, names in self._declared(handlers, Query):
            read = self._read(message, handler, names)
            if read is None:
                continue
            asked = [p.name for p in read.parameters[1:] if p.annotation is ReadModels]
            rest = Signature(
                tuple(p for p in read.parameters if p.annotation is not ReadModels), read.returns, read.where
            )
            arguments = await self._arguments(rest, self._read_side, stack)
            if arguments is not None:
                call = apart(bound(_function(handler), arguments))
                self.wired.queries[message] = Reading(call, asked[0] if asked else None)

    def aggregate(self, cls: type[Aggregate]) -> None:
        """Note an aggregate: its events are this app's, and its stored name is its own."""
        known = self.wired.aggregates.setdefault(cls.aggregate_name, cls)
        if known is not cls:
            self.wired.problems.append(
                f"{where(cls)}: {where(known)} is stored under the same name; write class {cls.__name__}(Aggregate, "
                'name="...")'
            )
        for event in appliers(cls):
            self._codec.register(event)

    def _declared(self, handlers: Handlers, kind: type) -> list[tuple[type, Any, Mapping[str, Any]]]:
        """Resolve the messages of decorated handlers, now that every name is known."""
        complete = Handlers()
        complete.include(handlers)
        for handler, names in handlers.decorated:
            try:
                message = signature(_function(handler), names).message
            except (NameError, TypeError) as error:
                self.wired.problems.append(_at(handler, f"{error}; annotate it with names that can be imported"))
                continue
            found = message.annotation if message else None
            if not (
                isinstance(found, type) and issubclass(found, BaseModel) and issubclass(found, kind)
            ) or is_parametrised(found):
                self.wired.problems.append(_at(handler, _no_message(found, kind)))
                continue
            complete.add(found, handler, names)
        self.wired.problems.extend(str(fault) for fault in complete.faults)
        self._refuse_namesakes(complete)
        return complete.items()

    def _refuse_namesakes(self, handlers: Handlers) -> None:
        """Command ids are remembered by the name of the command: two of one name would answer for each other (C1)."""
        named: dict[str, type] = {}
        for message, handler, _ in handlers.items():
            other = named.setdefault(message.__name__, message)
            if other is not message and issubclass(message, Command):
                what = f"{message.__module__}.{message.__name__} has the name of a command of {other.__module__}"
                self.wired.problems.append(_at(handler, f"{what}; rename one of them"))

    def _read(self, message: type[Any], handler: Any, names: Mapping[str, Any]) -> Signature | None:
        function = _function(handler)
        if inspect.isclass(handler):
            self.wired.problems.append(_at(handler, f"it is a class; register an object: {handler.__name__}(...)"))
            return None
        if not is_async(function):
            self.wired.problems.append(_at(handler, "it is not async; write async def"))
            return None
        try:
            read = signature(function, names)
        except (NameError, TypeError) as error:
            self.wired.problems.append(_at(handler, f"{error}; annotate it with names that can be imported"))
            return None
        taken = read.message.annotation if read.message is not None else None
        if not isinstance(taken, type) or taken not in message.__mro__:
            what = f"its first parameter is {name_of(taken)}, but it is registered for {message.__name__}"
            self.wired.problems.append(_at(handler, f"{what}; make them agree"))
            return None
        declared = result_type(message)
        if _is_another(read.returns, declared):
            what = f"it returns {name_of(read.returns)}, {message.__name__} declares {name_of(declared)}"
            self.wired.problems.append(_at(handler, f"{what}; make them agree{_how(message, declared, read.returns)}"))
        return read

    async def _arguments(
        self, read: Signature, side: Callable[[Any], Any], stack: AsyncExitStack
    ) -> dict[str, Any] | None:
        try:
            return await self._providers.arguments(read, stack, side, skip=1)
        except MissingError as missing:
            self.wired.problems.append(str(missing))
        except ConfigurationError as error:
            self.wired.problems.extend(error.problems)
        except DiptychError as error:
            self.wired.problems.append(f"{read.where}: {error}")
        return None

    def _write_side(self, annotation: Any) -> Any:
        if annotation is Repository or get_origin(annotation) is Repository:
            aggregate = (*get_args(annotation), None)[0]
            if not (isinstance(aggregate, type) and issubclass(aggregate, Aggregate)):
                is_row = isinstance(aggregate, type) and issubclass(aggregate, ReadModel)
                rule = "; a read model is written by its projection alone (rule DP103)" if is_row else ""
                raise MissingError(f"a repository is of one aggregate; write Repository[YourAggregate]{rule}")
            self.aggregate(aggregate)
            return Repository(aggregate)
        if annotation is CommandBus:
            return self._commands
        if annotation in _READ_SIDE:
            rule = "DP105" if annotation is QueryBus else "DP104"
            raise MissingError(
                f"a command handler may not ask for {name_of(annotation)}, which may be behind; load the aggregate "
                f"(rule {rule})"
            )
        return either_side(annotation)

    def _read_side(self, annotation: Any) -> Any:
        if annotation is QueryBus:
            return self._queries
        if annotation in _WRITE_SIDE or get_origin(annotation) is Repository:
            rule = "DP102" if annotation is CommandBus else "DP101"
            raise MissingError(
                f"a query handler may not ask for {name_of(annotation)}, which is the write side; ask for ReadModels "
                f"(rule {rule})"
            )
        return either_side(annotation)


def either_side(annotation: Any) -> Any:
    """What everybody may ask for without providing it. :raises LookupError: this is none of it."""
    if annotation is Clock:
        return SystemClock()
    raise LookupError


def _no_message(found: Any, kind: type) -> str:
    what = f"its first parameter is {name_of(found)}"
    if isinstance(found, type) and found not in (Command, Query) and issubclass(found, Command | Query):
        return f"{what}; write @app.{'command' if kind is Query else 'query'}_handler"
    return f"{what}; write a {kind.__name__} of your own there"


_KINDS: tuple[type | tuple[type, ...], ...] = (type(None), str, bytes, UUID, (int, float, Decimal), date, BaseModel)


def _is_another(returns: Any, declared: Any) -> bool:
    """Whether what a handler returns is surely not what its message declares; the finer cases are a type checker's."""
    if returns is inspect.Signature.empty or (returns is type(None)) != (declared is type(None)):
        return returns is not inspect.Signature.empty
    kinds = [
        next((kind for kind in _KINDS if isinstance(one, type) and issubclass(one, kind)), None)
        for one in (returns, declared)
    ]
    return None not in kinds and kinds[0] != kinds[1]


def _how(message: type, declared: Any, returns: Any) -> str:
    if declared is not type(None):
        return ""
    kind = "Command" if issubclass(message, Command) else "Query"
    return f", as in class {message.__name__}({kind}[{name_of(returns)}])"


def _function(handler: Any) -> Any:
    return handler.handle if hasattr(handler, "handle") else handler


def _at(handler: Any, what: str) -> str:
    return at(_function(handler), what)
