"""Given / when / then: what has happened, what is asked for, what happens then.

Rule: a scenario touches no file and no network; with an app it plays in a memory store, on an event loop of its own.
"""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar
from uuid import UUID

from diptych.app.application import App
from diptych.clock import new_id
from diptych.errors import ConfigurationError, ProgrammingError
from diptych.messages import Command, DomainEvent
from diptych.store.opening import shown
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.testing.differences import Expected, difference, is_as_expected
from diptych.write import guard
from diptych.write.aggregate import Aggregate, pending, replay

A = TypeVar("A", bound=Aggregate)
__tracebackhide__ = True  # pytest shows the line of the test, not ours


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: the events in the order of the log, and what was returned or raised."""

    asked: str
    events: Sequence[DomainEvent] = ()
    result: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class _History:
    stream: StreamName
    events: list[DomainEvent] = field(default_factory=list)


class Scenario(Generic[A]):
    """One story about an aggregate, told in events. `id` is the aggregate's id in it.

    `Scenario(Order)` calls its methods: `when(lambda order: order.cancel("late"))`. `Scenario(Order, app)` dispatches
    commands through the app's own handlers; the app must be one of `App("memory:")`. Works in sync and async tests.
    """

    def __init__(self, aggregate: type[A], app: App | None = None, *, id: UUID | None = None) -> None:
        if not (isinstance(aggregate, type) and issubclass(aggregate, Aggregate)):
            raise ProgrammingError(f"{aggregate!r} is no aggregate. Write Scenario(Order) or Scenario(Order, app).")
        if app is not None and not app.url.startswith("memory:"):
            raise ConfigurationError(f"A scenario plays in memory, not in {shown(app.url)}. Give it an App('memory:').")
        self.id = id or new_id()
        self._aggregate, self._app = aggregate, app
        self._given: list[_History] = []
        self._outcome: Outcome | None = None

    @property
    def result(self) -> Any:
        """What the command's handler, or the aggregate's method, returned."""
        return self._happened().result

    def given(
        self, first: UUID | DomainEvent | None = None, /, *events: DomainEvent, of: type[Aggregate] | None = None
    ) -> Self:
        """Say what has happened before, to this aggregate; or to another: its id first, and `of` its class."""
        id = first if isinstance(first, UUID) else self.id
        before = events if first is None or isinstance(first, UUID) else (first, *events)
        for event in before:
            if not isinstance(event, DomainEvent):
                raise ProgrammingError(f"given() takes events, one by one, such as Opened(owner='Ada'), not {event!r}.")
        stream = StreamName("", (of or self._aggregate).aggregate_name, id)
        if before:
            self._given.append(_History(stream, list(before)))
        return self

    def when(self, action: Command[Any] | Callable[[A], object] | Callable[[], A]) -> Self:
        """Do it: dispatch a command, call a method of the aggregate, or make a new one (a callable without parameters).

        What it records has happened for the next `when`.
        """
        if isinstance(action, Command):
            self._outcome = self._dispatch(action)
        elif not callable(action):
            raise ProgrammingError(f"when() takes a command, or a callable that gets the aggregate, not {action!r}.")
        else:
            self._outcome = self._call(action)
            self.given(*self._outcome.events)
        return self

    def then(self, *expected: Expected) -> Self:
        """Check what was recorded: these events, in this order, and no others. A class stands for any event of it."""
        outcome = self._happened()
        for one in expected:
            if not (issubclass(one, DomainEvent) if isinstance(one, type) else isinstance(one, DomainEvent)):
                raise ProgrammingError(f"then() takes events, one by one, or their classes, not {one!r}.")
        if outcome.error is not None:
            raise AssertionError(f"{outcome.asked} raised {_told(outcome.error)}") from outcome.error
        if not is_as_expected(expected, outcome.events):
            raise AssertionError(
                f"{outcome.asked} recorded other events (- expected, + recorded):\n"
                + difference(expected, outcome.events)
            )
        return self

    def then_raises(self, error: type[Exception], match: str = "") -> Self:
        """Check that it was refused with this error, its text containing `match`, and that nothing was recorded."""
        outcome = self._happened()
        if not (isinstance(error, type) and issubclass(error, Exception)):
            raise ProgrammingError(f"then_raises() takes the class of an error, and perhaps a text, not {error!r}.")
        if outcome.error is None:
            recorded = difference((), outcome.events)
            raise AssertionError(f"{outcome.asked} was not refused with {error.__name__}. It recorded:\n{recorded}")
        if not isinstance(outcome.error, error) or match not in str(outcome.error):
            wanted = f"{error.__name__}: ...{match}..." if match else error.__name__
            raise AssertionError(f"{outcome.asked} raised {_told(outcome.error)}\nexpected {wanted}") from outcome.error
        if outcome.events:
            recorded = difference((), outcome.events)
            raise AssertionError(f"{outcome.asked} was refused, and recorded events all the same:\n{recorded}")
        return self

    def _happened(self) -> Outcome:
        if self._outcome is None:
            raise ProgrammingError("Nothing has happened yet. Call scenario.when(...) first.")
        return self._outcome

    def _call(self, action: Callable[..., Any]) -> Outcome:
        aggregate = self._aggregate(self.id)
        events = [event for history in self._given if history.stream.id == self.id for event in history.events]
        replay(aggregate, events)
        before = guard.snapshot(aggregate)
        try:
            result = action(aggregate) if inspect.signature(action).parameters else action()
        except Exception as error:
            return Outcome("It", error=error)
        if inspect.iscoroutine(result):
            result.close()
            raise ProgrammingError(
                "A scenario awaits nothing but handlers. Make the method a plain one, or give an app."
            )
        if isinstance(result, Aggregate) and result is not aggregate:
            return Outcome("It", tuple(pending(result)), result)
        guard.check(aggregate, before)
        return Outcome("It", tuple(pending(aggregate)), result)

    def _dispatch(self, command: Command[Any]) -> Outcome:
        if self._app is None:
            name = self._aggregate.__name__
            raise ConfigurationError(f"{type(command).__name__} needs an app. Write Scenario({name}, app).")
        if self._app.is_running:
            raise ProgrammingError(
                "The app is running already. Give a scenario one that is not: it starts and stops it."
            )
        with ThreadPoolExecutor(1, thread_name_prefix="scenario") as thread:
            return thread.submit(asyncio.run, self._play(self._app, command)).result()

    async def _play(self, app: App, command: Command[Any]) -> Outcome:
        async with app:
            for history in self._given:
                events = [app.codec.encode(event) for event in history.events]
                await app.events.append(Append([StreamWrite(history.stream, ANY, events)]))
            before = await app.events.head()
            result, raised = None, None
            try:
                result = (await app.commands.dispatch(command)).result
            except Exception as error:
                raised = error
            page = await app.events.read_log(after=before.position)
            recorded = [app.codec.recorded(row) for row in page.events]
        self._given.extend(_History(one.row.stream, [one.event]) for one in recorded if raised is None)
        return Outcome(type(command).__name__, tuple(one.event for one in recorded), result, raised)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
