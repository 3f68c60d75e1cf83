"""The same words over a handler with what it needs, a projection and a request; time and ids are the scenario's."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

import pytest
from fastapi import FastAPI, HTTPException
from pydantic import AwareDatetime

from diptych import (
    Aggregate,
    App,
    Clock,
    Command,
    DomainError,
    DomainEvent,
    FixedClock,
    Key,
    Metadata,
    Projection,
    ReadModel,
    Repository,
    new_id,
    on,
)
from diptych.clock import SystemClock
from diptych.errors import ConfigurationError, ProgrammingError
from diptych.testing.scenario import Request, Scenario, Scenarios
from diptych.web import install

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Lent(DomainEvent):
    to: str
    loan_id: UUID
    at: AwareDatetime
    fee: Decimal = Decimal(0)


class Returned(DomainEvent):
    at: AwareDatetime


class AlreadyLentError(DomainError):
    """It is not here."""


class Book(Aggregate, name="words-book"):
    to: str | None = None

    def lend(self, to: str, fee: Decimal, at: datetime) -> UUID:
        if self.to is not None:
            raise AlreadyLentError(f"{self.to} has it")
        loan_id = new_id()
        self.record(Lent(to=to, loan_id=loan_id, at=at, fee=fee))
        return loan_id

    @on
    def _lent(self, event: Lent) -> None:
        self.to = event.to

    @on
    def _returned(self, event: Returned) -> None:
        self.to = None


class Lend(Command[UUID]):
    book_id: UUID
    to: str


class Prices(Protocol):
    """Somewhere else, in production."""

    async def fee(self, name: str) -> Decimal: ...


class FakePrices:
    """A price list that is here."""

    async def fee(self, name: str) -> Decimal:
        return Decimal("0.50")


class Loans(ReadModel):
    id: Annotated[UUID, Key]
    name: str
    count: int
    last: AwareDatetime


class Counter(Projection[Loans], name="words_counter"):
    @on
    def lent(self, row: Loans | None, event: Lent, meta: Metadata) -> Loans:
        count = row.count if row else 0
        return Loans(id=meta.stream.id, name=event.to, count=count + 1, last=meta.recorded_at)

    @on
    def returned(self, row: Loans, event: Returned) -> Loans | None:
        return None if row.count == 1 else row.replace(count=row.count - 1)


def library() -> App:
    app = App("memory:")
    app.provide(Prices, FakePrices())
    app.project(Counter)

    @app.command_handler
    async def lend(command: Lend, books: Repository[Book], prices: Prices, clock: Clock) -> UUID:
        book = await books.get_or_new(command.book_id)
        return book.lend(command.to, await prices.fee(command.to), clock.now())

    return app


def front(app: App) -> FastAPI:
    api = FastAPI()
    install(app, api)

    @api.post("/books/{book_id}/lend", status_code=201)
    async def lend(book_id: UUID, to: str) -> dict[str, UUID]:
        return {"loan_id": (await app.commands.dispatch(Lend(book_id=book_id, to=to))).result}

    return api


@pytest.fixture
def desk() -> Scenario[Book]:
    """A book in the library, at noon, by command or by request."""
    app = library()
    return Scenario(Book, app, api=front(app), at=NOON)


def lent(scenario: Scenario[Any], to: str = "Ada") -> Lent:
    return Lent(to=to, loan_id=UUID(int=1), at=scenario.clock.now(), fee=Decimal("0.50"))


def test_a_handler_gets_what_was_provided_and_the_scenarios_time(desk: Scenario[Book]) -> None:
    desk.when(Lend(book_id=desk.id, to="Ada"))
    desk.then(Lent(to="Ada", loan_id=desk.result, at=NOON, fee=Decimal("0.50")))


def test_ids_are_the_same_in_each_run_and_no_two_are_equal() -> None:
    def ids() -> list[UUID]:
        scenario = Scenario(Book, library(), at=NOON)
        found = []
        for _ in range(3):
            found.append(scenario.when(Lend(book_id=scenario.id, to="Ada")).result)
            scenario.given(Returned(at=NOON))
        return found

    first = ids()
    assert first == ids()
    assert len(set(first)) == 3
    assert {each.version for each in first} == {7}


def test_time_goes_on_when_it_is_told_to() -> None:
    clock = FixedClock(NOON)
    scenario = Scenario(Book, library(), clock=clock).given(lent(Scenario(Book, clock=clock)), Returned(at=NOON))
    clock.advance(timedelta(days=1))
    scenario.when(Lend(book_id=scenario.id, to="Bob"))
    scenario.then_row(Loans, scenario.id, name="Bob", last=NOON + timedelta(days=1))


def test_the_apps_own_clock_is_the_scenarios() -> None:
    app, clock = library(), FixedClock(NOON)
    app.provide(Clock, clock)
    scenario = Scenario(Book, app)
    scenario.when(Lend(book_id=scenario.id, to="Ada")).then_row(Loans, scenario.id, last=NOON)
    assert scenario.clock is clock


def test_a_time_that_is_said_goes_before_the_apps_own_clock() -> None:
    app = library()
    app.provide(Clock, SystemClock)
    scenario = Scenario(Book, app, at=NOON)
    scenario.when(Lend(book_id=scenario.id, to="Ada"))
    scenario.then(Lent(to="Ada", loan_id=scenario.result, at=NOON, fee=Decimal("0.50")))


def test_nothing_of_a_scenario_stays_in_its_app() -> None:
    app = library()
    app.provide(Clock, SystemClock)
    before = (app.mode, list(app.provided), len(app.wrapped_by[0]))
    scenario = Scenario(Book, app)
    scenario.when(Lend(book_id=scenario.id, to="Ada")).then(Lent)
    assert (app.mode, app.provided, len(app.wrapped_by[0])) == before


def test_rows_are_those_after_what_happened(desk: Scenario[Book]) -> None:
    desk.given(lent(desk)).then_row(Loans, desk.id, name="Ada", count=1)
    desk.given(Returned(at=NOON)).then_no_row(Loans, desk.id)
    desk.when(Lend(book_id=desk.id, to="Bob")).then_row(Loans, desk.id, name="Bob", count=1)


def test_a_projection_alone_needs_no_app() -> None:
    scenario = Scenario(Counter, at=NOON)
    scenario.given(lent(scenario), lent(scenario, "Bob"))
    scenario.then_row(Loans, scenario.id, name="Bob", count=2, last=NOON)
    scenario.when(Returned(at=NOON)).then_row(Loans, scenario.id, count=1)


def test_a_request_records_events_and_is_answered(desk: Scenario[Book]) -> None:
    desk.when(Request("POST", f"/books/{desk.id}/lend", params={"to": "Ada"}))
    desk.then_status(201).then(Lent).then_row(Loans, desk.id, name="Ada")
    assert desk.result.headers["content-type"] == "application/json"


def test_what_a_request_would_lose_is_found_behind_its_answer() -> None:
    app = App("memory:")

    @app.command_handler
    async def lend(command: Lend, books: Repository[Book]) -> UUID:
        book = await books.get_or_new(command.book_id)
        book.to = "nobody"
        return book.id

    scenario = Scenario(Book, app, api=front(app))
    with pytest.raises(ProgrammingError, match=r"test_words\.py:\d+ .*lend: Book\.to is set outside @on"):
        scenario.when(Request("POST", f"/books/{scenario.id}/lend", params={"to": "Ada"}))


def test_a_request_that_is_refused_has_its_status_and_its_error(desk: Scenario[Book]) -> None:
    desk.given(lent(desk))
    desk.when(Request("POST", f"/books/{desk.id}/lend", params={"to": "Bob"}))
    desk.then_status(409, detail="Ada has it").then_rejected(AlreadyLentError, "Ada has it").then_nothing()


@pytest.mark.anyio
async def test_a_request_is_sent_inside_an_async_test_too(desk: Scenario[Book]) -> None:
    desk.when(Request("POST", f"/books/{desk.id}/lend", params={"to": "Ada"})).then(Lent)


FAILURES: dict[str, tuple[Callable[[Scenario[Book]], object], str]] = {
    "another status": (lambda desk: desk.then_status(200), "was answered 409 {"),
    "another field": (lambda desk: desk.then_status(409, detail="Bob has it"), "- detail = 'Bob has it'"),
    "no event": (lambda desk: desk.then(Lent), "raised AlreadyLentError: Ada has it"),
    "another row": (lambda desk: desk.then_row(Loans, desk.id, count=2), "  - count = 2\n  + count = 1"),
    "no row": (lambda desk: desk.then_row(Loans, UUID(int=7)), "There is no Loans with key UUID('0000"),
    "a row": (lambda desk: desk.then_no_row(Loans, desk.id), "There is a Loans"),
}


@pytest.mark.parametrize(("check", "told"), FAILURES.values(), ids=FAILURES)
def test_what_a_request_came_to_is_told_with_the_state_before(
    desk: Scenario[Book], check: Callable[[Scenario[Book]], object], told: str
) -> None:
    desk.given(lent(desk)).when(Request("POST", f"/books/{desk.id}/lend", params={"to": "Bob"}))
    with pytest.raises(AssertionError) as failure:
        check(desk)
    assert told in str(failure.value)
    assert f"When:   POST /books/{desk.id}/lend" in str(failure.value)
    assert f"Before: Book {desk.id}, version 1\n        to = 'Ada'" in str(failure.value)


def test_a_failing_then_says_what_was_done_what_was_before_and_what_to_try(desk: Scenario[Book]) -> None:
    desk.given(lent(desk), Returned(at=NOON)).when(Lend(book_id=desk.id, to="Bob"))
    with pytest.raises(AssertionError) as failure:
        desk.then(lent(desk, "Bob"), Returned)
    told = str(failure.value)
    assert "   1  Lent\n        - loan_id = UUID('00000000-0000-0000-0000-000000000001')\n        + loan_id" in told
    assert "   2  - Returned(...)" in told
    assert f"When:   Lend(book_id={desk.id!r}, to='Bob')" in told
    assert f"Before: Book {desk.id}, version 2\n        to = None" in told
    assert "Hint:   You missed a Returned." in told


def test_values_made_while_a_command_runs_get_a_hint_of_their_own(desk: Scenario[Book]) -> None:
    desk.when(Lend(book_id=desk.id, to="Ada"))
    with pytest.raises(AssertionError, match="loan_id is made while the command runs"):
        desk.then(lent(desk))


def test_the_same_events_in_another_order_get_a_hint_of_their_own() -> None:
    def both(book: Book) -> None:
        book.record(Returned(at=NOON))
        book.record(Lent(to="Ada", loan_id=UUID(int=1), at=NOON))

    with pytest.raises(AssertionError, match="The same events in another order"):
        Scenario(Book).when(both).then(Lent, Returned)


def test_a_story_that_a_projection_cannot_take_is_told_with_the_event() -> None:
    scenario = Scenario(Counter).given(Returned(at=NOON))
    with pytest.raises(AssertionError, match=r"event 1 of the story cannot be taken: .* there is no row"):
        scenario.then_row(Loans, scenario.id)


class Other(ReadModel):
    id: Annotated[UUID, Key]


MISTAKES: dict[str, Callable[[], object]] = {
    "needs the web front": lambda: Scenario(Book, library()).when(Request("GET", "/")),
    "says no time zone": lambda: Scenario(Book, at=NOON.replace(tzinfo=None)),
    "Request needs an app": lambda: Scenario(Book).when(Request("GET", "/")),
    "needs its app": lambda: Scenario(Book, api=FastAPI()),
    "needs no app": lambda: Scenario(Counter, library()),
    "A projection records nothing": lambda: Scenario(Counter).when(Lent(to="A", loan_id=new_id(), at=NOON)).then(Lent),
    "Loans has no field total": lambda: Scenario(Counter).then_row(Loans, UUID(int=1), total=1),
    "No projection here keeps Other": lambda: Scenario(Counter).then_row(Other, UUID(int=1)),
    "Book keeps no rows": lambda: Scenario(Book).then_row(Loans, UUID(int=1)),
    "is about a request": lambda: Scenario(Book).when(lambda book: None).then_status(200),
    "when\\(\\) takes a command": lambda: Scenario(Counter).when(cast(Any, lambda: None)),
}


@pytest.mark.parametrize(("told", "mistake"), MISTAKES.items())
def test_wrong_use_of_the_words_is_told_in_a_sentence(told: str, mistake: Callable[[], object]) -> None:
    with pytest.raises((ProgrammingError, ConfigurationError), match=told):
        mistake()


def test_a_when_without_its_then_is_found_at_the_end_of_the_test() -> None:
    scenarios = Scenarios()
    scenario = scenarios(Counter).given(Lent(to="Ada", loan_id=UUID(int=1), at=NOON))
    scenario.when(Returned(at=NOON))
    with pytest.raises(AssertionError, match="Returned was done, and nothing was said of what comes of it"):
        scenarios.end()
    scenario.then_no_row(Loans, scenario.id)
    scenarios.end()


USER_TEST = """
from diptych import Aggregate, DomainEvent

class Rang(DomainEvent):
    times: int

class Bell(Aggregate):
    def ring(self) -> None:
        self.record(Rang(times=1))

def test_the_bell_rings(scenario):
    scenario(Bell).when(lambda bell: bell.ring()).then(Rang(times=1))

def test_that_checks_nothing(scenario):
    scenario(Bell).when(lambda bell: bell.ring())


def test_events_are_stored_as_before(golden):
    golden(Rang(times=1))
"""


def test_the_fixtures_are_there_without_any_other_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_bell.py").write_text(USER_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def run(*options: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "diptych.testing.plugin"]
        environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": ":".join(sys.path)}
        ran = subprocess.run(
            [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return ran.stdout

    said = run()
    assert "2 passed, 1 failed, 1 error" in said or "1 failed, 2 passed, 1 error" in said
    assert "nothing was said of what comes of it" in said
    assert "No golden file for Rang v1" in said
    assert "3 passed, 1 error" in run("--diptych-golden-update")
    assert "3 passed, 1 error" in run()
    assert (tmp_path / "golden" / "Rang.v1.json").exists()


class Poor(Projection[Loans], name="words_poor"):
    """It cannot take a loan to Eve."""

    @on
    def lent(self, event: Lent, meta: Metadata) -> Loans:
        if event.to == "Eve":
            raise ValueError("not to Eve")
        return Loans(id=meta.stream.id, name=event.to, count=1, last=meta.recorded_at)


@pytest.mark.parametrize(("status", "body"), [(200, {}), (404, {"title": "another"})], ids=["status", "field"])
def test_a_request_that_may_miss_what_is_parked_has_that_as_its_hint(status: int, body: dict[str, Any]) -> None:
    app, api = App("memory:"), FastAPI()
    app.project(Poor)
    install(app, api)

    @api.get("/loans/{name}")
    async def loan(name: str) -> None:
        raise HTTPException(404, "no such loan")

    scenario = Scenario(Book, app, api=api)
    scenario.given(lent(scenario, "Eve")).when(Request("GET", "/loans/Eve"))
    with pytest.raises(AssertionError, match=r"Hint: .*words_poor lacks events: 1 event is parked, .*: not to Eve"):
        scenario.then_status(status, **body)
