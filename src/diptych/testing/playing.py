"""How the `when` of a scenario is done: a method is called, or a command or a request goes through an app in memory.

Rule: each time the app starts anew and gets what has happened; nothing of it is left behind.
"""

import asyncio
import inspect
import linecache
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, cast
from uuid import UUID

from diptych import clock as clocks
from diptych.app.application import App
from diptych.clock import Clock
from diptych.errors import ConfigurationError, ProgrammingError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.messages import Command, DomainEvent, Receipt
from diptych.store.protocols import EventStore
from diptych.testing import folding
from diptych.testing.story import Happened, Story
from diptych.testing.values import short
from diptych.write import guard
from diptych.write.aggregate import Aggregate, pending, replay

__tracebackhide__ = True  # pytest shows the line of the test, not ours


class Request(NamedTuple):
    """An HTTP request: `Request("POST", "/orders", json={...})`. `json` and `params` as httpx takes them."""

    method: str
    path: str
    json: Any = None
    params: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None


@dataclass(slots=True)
class Outcome:
    """What came of it: the events in the order of the log, and what was returned or raised.

    `asked` names it, `told` says all of it. `response` is what a request was answered with; rows that it may have read
    are `lacking` something, a sentence for each projection that has put events aside.
    """

    asked: str
    told: str
    events: Sequence[DomainEvent] = ()
    result: Any = None
    error: Exception | None = None
    response: Any = None
    lacking: Sequence[str] = ()


@dataclass(slots=True)
class Stage:
    """An app in memory, with what it gets of the scenario: the time, and ids that are the same in each run."""

    app: App
    api: Any
    clock: Clock
    codec: Codec | None = None
    ids: int = 0
    raised: list[Exception] = field(default_factory=list)

    def play(self, story: Story, action: Command[Any] | Request | None) -> Outcome:
        """Do it after all that has happened, and add what it records to the story. None: only start and stop.

        :raises ProgrammingError: the code under test would lose or falsify data.
        """
        if self.app.is_running:
            raise ProgrammingError(
                "The app is running already. Give a scenario one that is not: it starts and stops it."
            )
        with self._set(), ThreadPoolExecutor(1, thread_name_prefix="scenario") as thread:
            outcome, recorded = thread.submit(asyncio.run, self._play(story, action)).result()
        for raised in (*self.raised, outcome.error):
            if isinstance(raised, ProgrammingError):
                raise raised
        story.happened += recorded
        return outcome

    async def _play(self, story: Story, action: Command[Any] | Request | None) -> tuple[Outcome, list[Happened]]:
        async with self.app as app:
            self.codec = app.codec
            story.kinds.update(app.aggregates)
            for append in story.appends(app.codec):
                await app.events.append(append)
            before = await app.events.head()
            outcome = await self._act(action)
            found = [app.codec.recorded(row) for row in await _read(app.events, before.position)]
        outcome.events = tuple(one.event for one in found)
        return outcome, [Happened(one.row.stream, one.event, self.clock.now(), one.row.metadata) for one in found]

    async def _act(self, action: Command[Any] | Request | None) -> Outcome:
        if action is None:
            return Outcome("Nothing", "nothing")
        if isinstance(action, Request):
            return await self._ask(action)
        outcome = Outcome(type(action).__name__, short(action))
        try:
            outcome.result = (await self.app.commands.dispatch(action)).result
        except Exception as error:
            outcome.error = error
        return outcome

    async def _ask(self, request: Request) -> Outcome:
        try:
            from httpx import ASGITransport, AsyncClient
        except ImportError as error:
            raise ConfigurationError("A scenario sends requests with httpx. Type: pip install httpx") from error
        lacking: Sequence[str] = ()
        if request.method in ("GET", "HEAD"):
            lacking = await self.app.caught_up()
        transport = ASGITransport(app=self.api)
        async with AsyncClient(transport=transport, base_url="http://scenario") as client:
            response = await client.request(
                request.method, request.path, json=request.json, params=request.params, headers=request.headers
            )
        asked = f"{request.method} {request.path}"
        told = asked if request.json is None else f"{asked} {short(request.json)}"
        refusal = self.raised[-1] if self.raised and response.is_error else None
        return Outcome(asked, told, result=response, error=refusal, response=response, lacking=lacking)

    @contextmanager
    def _set(self) -> Iterator[None]:
        """Put the clock, the ids and the checks in, for one performance."""
        app, mode, self.raised = self.app, self.app.mode, []
        middleware = cast(list[Any], app.wrapped_by[0])
        provided = [(module, list(module.provided)) for module in app.everything()]
        app.mode = "development"
        middleware.insert(0, self._stamp)
        for module, given in provided:
            module.provided[:] = [each for each in given if each[0] is not Clock]
        app.provided.append((Clock, self.clock, {}))
        made, clocks.new_id_bytes = clocks.new_id_bytes, self._next_id
        try:
            with guard.examining(folding.examine):
                yield
        finally:
            clocks.new_id_bytes = made
            for module, given in provided:
                module.provided[:] = given
            middleware.remove(self._stamp)
            app.mode = mode

    def _stamp(
        self, following: Callable[[Command[Any]], Awaitable[Receipt[Any]]]
    ) -> Callable[[Command[Any]], Awaitable[Receipt[Any]]]:
        async def dispatch(command: Command[Any]) -> Receipt[Any]:
            command.envelope.timestamp = self.clock.now().timestamp()
            try:
                return await following(command)
            except Exception as error:
                self.raised.append(error)
                raise

        return dispatch

    def _next_id(self) -> bytes:
        """Make a UUIDv7 of the scenario's time and a number."""
        self.ids += 1
        milliseconds = int(self.clock.now().timestamp() * 1000)
        rest = int.from_bytes(blake2b(str(self.ids).encode(), digest_size=8).digest()) >> 2
        high = (milliseconds << 16) | 0x7000 | (self.ids & 0xFFF)
        return (high << 64 | 0b10 << 62 | rest).to_bytes(16)


async def _read(events: EventStore, after: int) -> list[StoredEvent]:
    """Return what is in a log after a position."""
    found: list[StoredEvent] = []
    while page := (await events.read_log(after=found[-1].position if found else after)).events:
        found += page
    return found


def call(kind: type[Aggregate], id: UUID, before: Sequence[DomainEvent], action: Callable[..., Any]) -> Outcome:
    """Call a method of an aggregate, or make a new one (a callable without parameters).

    :raises ProgrammingError: state changed outside `@on`, or in an `@on` method by chance or time.
    """
    aggregate = kind(id)
    replay(aggregate, before)
    state, outcome = guard.snapshot(aggregate), Outcome("It", _source(action))
    guard.install(lambda: False, lambda _: None)
    try:
        result = outcome.result = action(aggregate) if inspect.signature(action).parameters else action()
    except ProgrammingError:
        raise
    except Exception as error:
        outcome.error = error
        return outcome
    finally:
        guard.uninstall()
    if inspect.iscoroutine(result):
        result.close()
        raise ProgrammingError("A scenario awaits nothing but handlers. Make the method a plain one, or give an app.")
    if isinstance(result, Aggregate) and result is not aggregate:
        aggregate, state = result, guard.snapshot(type(result)(result.id))
    with guard.examining(folding.examine):
        guard.check(aggregate, state)
    outcome.events = tuple(pending(aggregate))
    return outcome


def _source(action: Callable[..., Any]) -> str:
    """Show a callable by its line in the test, or by its name."""
    code = getattr(action, "__code__", None)
    line = linecache.getline(code.co_filename, code.co_firstlineno).strip() if code else ""
    return line or getattr(action, "__qualname__", repr(action))
