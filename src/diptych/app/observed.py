"""Wraps what an app works with, so that an observer is told of the work.

Rule: an app that nobody observes runs none of this.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import unwrap
from typing import Any, cast

from diptych.messages import Command, Query, Receipt
from diptych.read.bus import Answer, QueryBus, Reading
from diptych.store.protocols import Append, Appended, CommandKeyTaken, EventStore
from diptych.telemetry.observer import Appending, Handled, Observer, Work, one_of, watched
from diptych.write.bus import CommandMiddleware, Dispatch
from diptych.write.handling import Call


def observer_of(observers: Sequence[Observer]) -> Observer:
    """Return one observer for all that were registered, and for the OpenTelemetry SDK of this process if it has one.

    Who has set one up has imported its API; so nothing is imported where nobody has.
    """
    found = list(observers)
    if "opentelemetry" in sys.modules:
        from diptych.telemetry.opentelemetry import OpenTelemetry, configured

        if not any(isinstance(each, OpenTelemetry) for each in found) and (own := configured()) is not None:
            found.insert(0, own)
    return one_of(found)


def observed_commands(observer: Observer, calls: Mapping[type, Call]) -> CommandMiddleware:
    """Make the middleware that tells of each command, its retries inside."""
    code = {message: _code(call) for message, call in calls.items()}

    def wrap(following: Dispatch) -> Dispatch:
        async def dispatch(command: Command[Any]) -> Receipt[Any]:
            kind = type(command)
            work = Handled(kind.__name__, code.get(kind, ""), envelope=command.envelope)
            with watched(observer.command, work):
                receipt = await following(command)
                work.outcome = "duplicate" if receipt.is_replay else "committed"
            return receipt

        return dispatch

    return wrap


def observe_queries(observer: Observer, bus: QueryBus, calls: Mapping[type, Reading]) -> Callable[[], None]:
    """Tell of each query that is asked of this bus, once, with all its waiting. Returns what ends it.

    The bus itself is changed, for it was handed out before the start.
    """
    code = {message: _code(reading.call) for message, reading in calls.items()}
    ask, answer = bus.dispatch, bus.answer

    async def observed_dispatch(query: Query[Any], **how: Any) -> Any:
        with watched(observer.query, Work(type(query).__name__, code.get(type(query), ""))) as work:
            value = await ask(query, **how)
            work.outcome = "answered"
        return value

    async def observed_answer(query: Query[Any], **how: Any) -> Answer[Any]:
        with watched(observer.query, Work(type(query).__name__, code.get(type(query), ""))) as work:
            answered = await answer(query, **how)
            work.outcome = "stale" if answered.is_stale else "answered"
        return answered

    own = vars(bus)
    own.update(dispatch=observed_dispatch, answer=observed_answer)

    def end() -> None:
        del own["dispatch"], own["answer"]

    return end


class ObservedStore:
    """An event store whose appends an observer is told of; all else is the store's."""

    def __init__(self, store: EventStore, observer: Observer, kind: str) -> None:
        self._store, self._observer, self._kind = store, observer, kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, append: Append) -> Appended:
        """Append, with the trace that the observer makes of it beside the events."""
        work = Appending(self._kind, events=sum(len(write.events) for write in append.writes))
        if append.command is not None:
            work.command = append.command.key.command_type
        with watched(self._observer.append, work):
            if work.traceparent is not None:
                append = append._replace(metadata=traced(append.metadata, work.traceparent))
            try:
                appended = await self._store.append(append)
            except CommandKeyTaken:
                work.outcome = "duplicate"
                raise
            work.outcome, work.together = "committed", appended.together
        return appended


def observed_store(store: EventStore, observer: Observer, url: str) -> EventStore:
    """Return the store as the write side gets it."""
    scheme = url.partition(":")[0]
    return cast(EventStore, ObservedStore(store, observer, "postgresql" if scheme == "postgres" else scheme))


def traced(metadata: str, traceparent: str) -> str:
    """Add the trace context (W3C) to the JSON text that is written beside events."""
    return f'{metadata[:-1]}{"" if metadata == "{}" else ","}"traceparent":"{traceparent}"}}'


def _code(call: Callable[..., Any]) -> str:
    """The function that handles a message, as `code.function.name` wants it."""
    inner = unwrap(call)
    function = inner.func if isinstance(inner, partial) else inner
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"
