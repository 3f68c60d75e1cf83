"""What is typed by mistake, and was an AttributeError from deep inside: a sentence that says what to write."""

from typing import Any
from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, DomainEvent, IdempotencyKey, Query, ReadModels, Repository, new_id
from diptych.errors import ProgrammingError

pytestmark = pytest.mark.anyio


class Rung(DomainEvent):
    pass


class Bell(Aggregate):
    pass


class Ring(Command):
    bell_id: Any = None
    records: Any = None


class CountBells(Query[int]):
    pass


@pytest.fixture
def app() -> App:
    app = App(mode="development")

    @app.command_handler
    async def ring(command: Ring, bells: Repository[Bell]) -> None:
        if command.records is not None:
            Bell(new_id()).record(command.records)
        await bells.get_or_new(command.bell_id)

    @app.query_handler
    async def count(query: CountBells) -> int:
        return 1

    return app


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (Ring, "The class Ring was dispatched. Dispatch an object of it: Ring(...)."),
        (CountBells(), "CountBells was dispatched to the command bus, and is none. Write app.queries.dispatch(...)."),
        ({}, "dict was dispatched to the command bus, and is none. Dispatch an object of a Command of yours."),
        (Rung(), "Rung was dispatched to the command bus, and is none. Dispatch an object of a Command of yours."),
    ],
)
async def test_what_is_no_command_is_not_dispatched(app: App, sent: Any, sentence: str) -> None:
    async with app:
        with pytest.raises(ProgrammingError) as refused:
            await app.commands.dispatch(sent)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (CountBells, "The class CountBells was dispatched. Dispatch an object of it: CountBells(...)."),
        (Ring(), "Ring was dispatched to the query bus, and is none. Write app.commands.dispatch(...)."),
        ("bells", "str was dispatched to the query bus, and is none. Dispatch an object of a Query of yours."),
    ],
)
async def test_what_is_no_query_is_not_dispatched(app: App, sent: Any, sentence: str) -> None:
    async with app:
        for ask in (app.queries.dispatch, app.queries.answer):
            with pytest.raises(ProgrammingError) as refused:
                await ask(sent)
            assert str(refused.value) == sentence


@pytest.mark.parametrize("given", [{"command_id": IdempotencyKey(UUID(int=7))}, {"command_id": "7"}, {"user_id": 7}])
async def test_who_sends_a_command_is_told_by_a_uuid_and_a_text(app: App, given: dict[str, Any]) -> None:
    async with app:
        with pytest.raises(ProgrammingError, match="7"):
            await app.commands.dispatch(Ring(bell_id=new_id()), **given)


async def test_a_user_of_a_bus_is_a_text(app: App) -> None:
    user: Any = 7
    with pytest.raises(ProgrammingError, match="A user id is text, and 7 is int"):
        app.commands.as_user(user)


async def test_a_position_is_no_place_to_wait_for(app: App) -> None:
    position: Any = 7
    async with app:
        with pytest.raises(ProgrammingError, match="after=7 is no place in the log"):
            await app.queries.dispatch(CountBells(), after=position)


async def test_the_id_of_an_aggregate_is_a_uuid(app: App) -> None:
    async with app:
        with pytest.raises(ProgrammingError, match="Bell: 'bell' is no UUID"):
            await app.commands.dispatch(Ring(bell_id="bell"))


async def test_what_a_handler_forgot_to_wait_for_is_no_answer(app: App) -> None:
    async def later() -> int:
        return 1

    class RingLater(Command[int]):
        pass

    class Ask(Query[int]):
        pass

    class AskRows(Query[int]):
        pass

    @app.command_handler
    async def ring_later(command: RingLater) -> int:
        return later()  # type: ignore[return-value]

    @app.query_handler
    async def ask(query: Ask) -> int:
        return later()  # type: ignore[return-value]

    @app.query_handler
    async def ask_rows(query: AskRows, read: ReadModels) -> int:
        return later()  # type: ignore[return-value]

    buses: tuple[Any, Any] = app.commands, app.queries
    async with app:
        for send, sent in ((buses[0].dispatch, RingLater()), (buses[1].dispatch, Ask()), (buses[1].answer, AskRows())):
            with pytest.raises(ProgrammingError, match=r"returned .*later\(\.\.\.\) without waiting for it"):
                await send(sent)


@pytest.mark.parametrize(
    ("recorded", "what"), [(Rung, "the class Rung"), ({"by": 1}, "a dict"), (UUID(int=1), "a UUID")]
)
async def test_only_an_event_is_recorded(app: App, recorded: Any, what: str) -> None:
    async with app:
        with pytest.raises(ProgrammingError, match=f"recorded {what}. Record an object of a DomainEvent"):
            await app.commands.dispatch(Ring(bell_id=new_id(), records=recorded))
