"""Given / when / then: what has happened, what is asked for, what happens then.

Rule: a scenario touches no file and no network; with an app it plays in a memory store, on an event loop of its own.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, NoReturn, Self, TypeVar
from uuid import UUID

from diptych.app.application import App
from diptych.clock import Clock, FixedClock, id_for
from diptych.errors import ConfigurationError, ProgrammingError
from diptych.messages import Command, DomainEvent
from diptych.projections.projection import Projection
from diptych.read.models import ReadModel
from diptych.store.opening import shown
from diptych.stream import StreamName
from diptych.testing import telling
from diptych.testing.differences import Expected, is_as_expected
from diptych.testing.folding import check_fold
from diptych.testing.playing import Outcome, Request, Stage, call
from diptych.testing.rows import Tables, of_app, of_projection
from diptych.testing.story import Happened, Story
from diptych.testing.values import quoted
from diptych.testing.watching import place_of
from diptych.write.aggregate import Aggregate

S = TypeVar("S")
__all__ = ["Request", "Scenario", "Scenarios"]
__tracebackhide__ = True  # pytest shows the line of the test, not ours

_PLACE = re.compile(r"[^\n]+?:\d+ [\w<]")


class Scenario(Generic[S]):
    """One story, told in events. `id` is the aggregate's, or the stream's, that it is about.

    `Scenario(Order)` calls an aggregate's methods, `Scenario(Order, app)` dispatches commands through the handlers of
    an `App("memory:")`, with `api=` (its FastAPI or other ASGI app) it sends requests, and `Scenario(OrderBook)` gives
    a projection events. Works in sync and async tests.

    Handlers that ask for a `Clock` get `clock`: it stands still, at the time `at` if you say one; `new_id()` makes the
    same ids in each run.
    """

    def __init__(
        self,
        subject: type[S],
        app: App | None = None,
        *,
        api: Any = None,
        id: UUID | None = None,
        clock: Clock | None = None,
        at: datetime | None = None,
    ) -> None:
        _refuse_wrong(subject, app, api)
        if at is not None and at.tzinfo is None:
            raise ProgrammingError(f"at={at} says no time zone. Write datetime(..., tzinfo=UTC).")
        self.id = id or id_for("scenario", subject.__name__)
        self.clock: Clock = clock or (FixedClock(at) if at else _own_clock(app) or FixedClock())
        self.is_checked = True  # what was done last was looked at
        self._subject = subject
        self._story, self._before = Story(), 0
        self._stage = None if app is None else Stage(app, api, self.clock)
        self._tables: Tables | None = None
        self._outcome: Outcome | None = None
        if issubclass(subject, Aggregate):
            self._story.kinds[subject.aggregate_name] = subject

    @property
    def result(self) -> Any:
        """What the command's handler, or the aggregate's method, returned; of a request, the response (httpx)."""
        return self._happened().result

    @property
    def asked(self) -> str:
        """What was done last, in a word."""
        return "Nothing" if self._outcome is None else self._outcome.asked

    def given(
        self, first: UUID | DomainEvent | None = None, /, *events: DomainEvent, of: type[Aggregate] | None = None
    ) -> Self:
        """Say what has happened before, to this aggregate; or to another: its id first, and `of` its class."""
        id = first if isinstance(first, UUID) else self.id
        before = events if first is None or isinstance(first, UUID) else (first, *events)
        for event in before:
            if not isinstance(event, DomainEvent):
                raise ProgrammingError(f"given() takes events, one by one, such as Opened(owner='Ada'), not {event!r}.")
        if of is not None:
            self._story.kinds[of.aggregate_name] = of
        category = getattr(of or self._subject, "aggregate_name", self._subject.__name__)
        now = self.clock.now()
        self._story.happened += [Happened(StreamName("", category, id), event, now) for event in before]
        self._tables = None
        return self

    def when(self, action: Command[Any] | Request | DomainEvent | Callable[[S], object] | Callable[[], S]) -> Self:
        """Do it, once; what it records has happened for the next `when`.

        A command is dispatched, a request is sent, a callable gets the aggregate or, without parameters, makes a new
        one. To a projection an event happens.

        :raises ProgrammingError: the code under test would lose or falsify data; it names the line.
        """
        self._before, self.is_checked = len(self._story), False
        self._tables = None
        try:
            self._check_given()
            self._outcome = self._act(action)
            if self._stage is not None:
                self._rows()
        except ProgrammingError as error:
            if _PLACE.match(str(error)):
                raise error.with_traceback(None) from None
            place = place_of(lambda: self._act(action))
            if place is None:
                raise
            told = str(error).replace(". ", f".{quoted(place)}", 1)
            raise ProgrammingError(f"{place}: {told}") from None
        return self

    def then(self, *expected: Expected) -> Self:
        """Check what was recorded: these events, in this order, and no others. A class stands for any event of it."""
        outcome = self._happened()
        for one in expected:
            if not (issubclass(one, DomainEvent) if isinstance(one, type) else isinstance(one, DomainEvent)):
                raise ProgrammingError(f"then() takes events, one by one, or their classes, not {one!r}.")
        if outcome.error is not None or (expected and telling.is_refused(outcome)):
            self._fail(telling.refused(outcome))
        if not is_as_expected(expected, outcome.events):
            self._fail(telling.other_events(outcome, expected))
        return self

    def then_nothing(self) -> Self:
        """Check that nothing was recorded; and that a command was accepted (of a request, `then_status` says that)."""
        outcome = self._happened()
        if outcome.response is not None and outcome.events:
            self._fail(telling.other_events(outcome, ()))
        return self if outcome.response is not None else self.then()

    def then_rejected(self, error: type[Exception], match: str = "") -> Self:
        """Check that it was refused with this error, its text containing `match`, and that nothing was recorded."""
        outcome = self._happened()
        if not (isinstance(error, type) and issubclass(error, Exception)):
            raise ProgrammingError(f"then_rejected() takes the class of an error, and perhaps a text, not {error!r}.")
        if outcome.error is None:
            self._fail(telling.not_rejected(outcome, error))
        if not isinstance(outcome.error, error) or match not in str(outcome.error):
            self._fail(telling.other_error(outcome, error, match))
        if outcome.events:
            self._fail(telling.recorded_all_the_same(outcome))
        return self

    def then_status(self, status: int, /, **fields: Any) -> Self:
        """Check what a request was answered with: its status, and fields of the JSON object that came back."""
        outcome = self._happened()
        if outcome.response is None:
            raise ProgrammingError(
                'then_status() is about a request. Write when(Request("POST", "/orders", json=...)).'
            )
        told = telling.other_answer(outcome, status, fields)
        if told:
            self._fail(told)
        return self

    def then_row(self, model: type[ReadModel], key: Any, /, **fields: Any) -> Self:
        """Check that a projection keeps a row with this key (a tuple, if it has several columns) and these fields."""
        told = self._rows().row_as_told(model, key, fields)
        if told:
            self._fail(told)
        self.is_checked = True
        return self

    def then_no_row(self, model: type[ReadModel], key: Any) -> Self:
        """Check that no row has this key."""
        told = self._rows().no_row_as_told(model, key)
        if told:
            self._fail(told)
        self.is_checked = True
        return self

    def _happened(self) -> Outcome:
        if self._outcome is None:
            raise ProgrammingError("Nothing has happened yet. Call scenario.when(...) first.")
        if issubclass(self._subject, Projection):
            raise ProgrammingError("A projection records nothing and refuses nothing. Write then_row or then_no_row.")
        self.is_checked = True
        return self._outcome

    def _act(self, action: Any) -> Outcome:
        if isinstance(action, Command | Request):
            if self._stage is None:
                raise ConfigurationError(
                    f"{type(action).__name__} needs an app. Write Scenario({self._subject.__name__}, app)."
                )
            if isinstance(action, Request) and self._stage.api is None:
                raise ConfigurationError("A request needs the web front. Write Scenario(..., app, api=api).")
            return self._stage.play(self._story, action)
        if isinstance(action, DomainEvent) and issubclass(self._subject, Projection):
            self.given(action)
            return Outcome(type(action).__name__, telling.short(action))
        if not callable(action) or not issubclass(self._subject, Aggregate):
            raise ProgrammingError(telling.not_to_be_done(action))
        stream = StreamName("", self._subject.aggregate_name, self.id)
        outcome = call(self._subject, self.id, self._story.events(stream), action)
        self.given(*outcome.events)
        return outcome

    def _check_given(self) -> None:
        for stream in self._story.streams():
            kind = self._story.kinds.get(stream.category)
            if kind is not None:
                check_fold(kind, self._story.events(stream))

    def _rows(self) -> Tables:
        """Return the rows of all projections. :raises ProgrammingError: one of them is not what its events make it."""
        if self._tables is None:
            if self._stage is not None:
                self._tables = of_app(self._stage, self._story)
            elif issubclass(self._subject, Projection):
                self._tables = of_projection(self._subject, self._story)
            else:
                name = self._subject.__name__
                raise ProgrammingError(f"{name} keeps no rows. Write Scenario({name}, app), or Scenario(Projection).")
        return self._tables

    def _fail(self, told: str) -> NoReturn:
        if self._outcome is None:
            raise AssertionError(telling.with_context(told, None, ()))
        streams = [StreamName("", getattr(self._subject, "aggregate_name", ""), self.id)]
        streams += [stream for stream in self._story.streams(self._before) if stream not in streams]
        before = [state for stream in streams if (state := self._story.state(stream, self._before)) is not None]
        raise AssertionError(telling.with_context(told, self._outcome, before)) from self._outcome.error


class Scenarios:
    """Makes scenarios for one test, and looks at its end whether each `when` had its `then`: the fixture `scenario`."""

    def __init__(self) -> None:
        self._made: list[Scenario[Any]] = []

    def __call__(
        self,
        subject: type[S],
        app: App | None = None,
        *,
        api: Any = None,
        id: UUID | None = None,
        clock: Clock | None = None,
        at: datetime | None = None,
    ) -> Scenario[S]:
        """Make one, as `Scenario(...)` does."""
        made = Scenario(subject, app, api=api, id=id, clock=clock, at=at)
        self._made.append(made)
        return made

    def end(self) -> None:
        """:raises AssertionError: what a `when` came to was never looked at, so that the test checks nothing."""
        for made in self._made:
            if not made.is_checked:
                raise AssertionError(f"{made.asked} was done, and nothing was said of what comes of it. Add a then.")


def _own_clock(app: App | None) -> Clock | None:
    """Return the clock that an app was given, if it was an object."""
    given = [each for module in (app.everything() if app else ()) for each in module.provided if each[0] is Clock]
    found = given[0][1] if given else None
    return None if found is None or not hasattr(found, "now") or isinstance(found, type) else found


def _refuse_wrong(subject: Any, app: App | None, api: Any) -> None:
    if not (isinstance(subject, type) and issubclass(subject, Aggregate | Projection)):
        raise ProgrammingError(
            f"{subject!r} is no aggregate and no projection. Write Scenario(Order), Scenario(Order, app) or "
            "Scenario(OrderBook)."
        )
    if app is None and api is not None:
        raise ConfigurationError("A web front needs its app: write Scenario(Order, app, api=api).")
    if app is not None and issubclass(subject, Projection):
        name = subject.__name__
        raise ConfigurationError(f"A projection alone needs no app. Write Scenario({name}), or name an aggregate.")
    if app is not None and not app.url.startswith("memory:"):
        how = "Give it one in memory with all that is in yours: memory = App('memory:'); memory.include(app)"
        raise ConfigurationError(f"A scenario plays in memory, not in {shown(app.url)}. {how}.")
