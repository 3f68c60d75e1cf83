"""R1 over processes and generations: an answer has what was waited for, whoever works on the rows, or says why not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych import (
    Aggregate,
    App,
    Command,
    DomainEvent,
    Key,
    Metadata,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Repository,
    StaleReadError,
    new_id,
    on,
)
from diptych.app.tuning import Tuning
from diptych.projections.backfill import Subject
from diptych.subscriptions.reading import Pace
from tests.projections.harmful import board_where, until
from tests.projections.rebuilds import rebuild
from tests.urls import url_for

pytestmark = pytest.mark.anyio

PACE = Pace(poll=0.2, lease=0.2)
WEB = Tuning(pace=PACE, runs_projections=False)
WORKER = Tuning(pace=PACE)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


class JarFilled(DomainEvent, name="several.filled"):
    spoons: int


class JarShaken(DomainEvent, name="several.shaken"):
    """No projection takes it."""


class Jar(Aggregate, name="several"):
    pass


class FillJar(Command[UUID]):
    id: UUID
    spoons: int = 1


class ShakeJar(Command):
    id: UUID


class JarRow(ReadModel):
    id: Annotated[UUID, Key]
    spoons: int


class Jars(Projection[JarRow], name="jars"):
    @on
    def filled(self, row: JarRow | None, event: JarFilled, meta: Metadata) -> JarRow:
        return JarRow(id=meta.stream.id, spoons=(row.spoons if row else 0) + event.spoons)


class BigJars(Projection[JarRow], name="jars"):
    """Of the same version; only in development is its code another."""

    @on
    def filled(self, row: JarRow | None, event: JarFilled, meta: Metadata) -> JarRow:
        return JarRow(id=meta.stream.id, spoons=(row.spoons if row else 0) + 10 * event.spoons)


class NewJars(Projection[JarRow], name="jars", version=2):
    @on
    def filled(self, row: JarRow | None, event: JarFilled, meta: Metadata) -> JarRow:
        return JarRow(id=meta.stream.id, spoons=(row.spoons if row else 0) + 100 * event.spoons)


class GetJar(Query[JarRow | None]):
    id: UUID


class FindJar(Query[JarRow]):
    id: UUID


class CountSpoons(Query[int]):
    pass


def reshaped() -> tuple[type[Projection[Any]], type[ReadModel]]:
    class JarRow(ReadModel):
        id: Annotated[UUID, Key]
        spoons: str

    class Jars(Projection[JarRow], name="jars"):
        @on
        def filled(self, row: JarRow | None, event: JarFilled, meta: Metadata) -> JarRow:
            return JarRow(id=meta.stream.id, spoons="many")

    return Jars, JarRow


def app_of(url: str, projection: type[Projection[Any]] = Jars, model: type[ReadModel] = JarRow, **options: Any) -> App:
    app = App(url, **{"tuning": WORKER, **options})
    app.project(projection)

    @app.command_handler
    async def fill(command: FillJar, jars: Repository[Jar]) -> UUID:
        jar = await jars.get_or_new(command.id)
        jar.record(JarFilled(spoons=command.spoons))
        return jar.id

    @app.command_handler
    async def shake(command: ShakeJar, jars: Repository[Jar]) -> None:
        (await jars.get_or_new(command.id)).record(JarShaken())

    @app.query_handler
    async def get(query: GetJar, read: ReadModels) -> Any:
        return await read.get(model, query.id)

    @app.query_handler
    async def find(query: FindJar, read: ReadModels) -> Any:
        return await read.one(model, query.id)

    @app.query_handler
    async def count(query: CountSpoons, read: ReadModels) -> int:
        return (await read.sql(int, "SELECT coalesce(sum(spoons), 0) AS spoons FROM jar_row"))[0]

    return app


@asynccontextmanager
async def filled(url: str, spoons: int = 3) -> AsyncIterator[UUID]:
    """A jar whose row was made by the first code, which has stopped since."""
    id = new_id()
    async with app_of(url) as app:
        await app.commands.dispatch(FillJar(id=id, spoons=spoons))
        await app.caught_up()
    yield id


async def test_a_process_that_only_answers_waits_for_rows_that_another_makes(url: str) -> None:
    """R1."""
    id = new_id()
    async with app_of(url), app_of(url, tuning=WEB) as web:
        for filling in range(1, 6):
            receipt = await web.commands.dispatch(FillJar(id=id))
            row = await web.queries.dispatch(GetJar(id=id), after=receipt, within=5.0)
            assert row is not None
            assert row.spoons == filling


async def test_what_concerns_nobody_is_not_waited_for_until_it_is_written_down(url: str) -> None:
    """A checkpoint before it is as good as one behind it: the other process writes that down only now and then."""
    id = new_id()
    lazy = Tuning(pace=PACE._replace(save=60.0))
    async with app_of(url, tuning=lazy) as worker, app_of(url, tuning=WEB) as web:
        filled = await web.commands.dispatch(FillJar(id=id))
        await web.queries.dispatch(GetJar(id=id), after=filled, within=5.0)
        await web.commands.dispatch(ShakeJar(id=id))
        token = (await web.queries.answer(GetJar(id=id))).token
        head = (await web.events.head()).position
        await until(lambda: worker.progress["jars"].position == head)
        answer = await web.queries.answer(GetJar(id=id), after=(await _token(web)), within=5.0)
        assert answer.reason is None
        assert answer.as_of_position == head
        assert token != answer.token
        assert (await worker.views.checkpoint("jars")).position < head


async def _token(app: App) -> str:
    """The end of the log, as a caller may have it from elsewhere: it is not said which events are meant."""
    from diptych.stream import token

    head = await app.events.head()
    return token(head.position, head.event_id)


async def test_two_workers_answer_for_each_other(url: str) -> None:
    """R1, P5: each has some of the lanes."""
    ids = [new_id() for _ in range(12)]
    async with app_of(url) as one, app_of(url) as two:
        await board_where(one.views, lambda board: len({row.owner for row in board.lanes if row.owner}) == 2)
        for number, id in enumerate(ids):
            sender, reader = (one, two) if number % 2 else (two, one)
            receipt = await sender.commands.dispatch(FillJar(id=id, spoons=number + 1))
            row = await reader.queries.dispatch(GetJar(id=id), after=receipt, within=5.0)
            assert row is not None
            assert row.spoons == number + 1


async def test_a_generation_that_was_swapped_in_unnoticed_is_waited_for_too(url: str) -> None:
    """R1: the lanes that this process knew had what was wanted; the rows that it read came from others."""
    id = new_id()
    slow = Tuning(pace=PACE._replace(lease=3600.0))  # it looks at the board every quarter of an hour
    async with app_of(url, tuning=slow, mode="production") as unaware:
        await unaware.commands.dispatch(FillJar(id=id, spoons=1))
        await unaware.caught_up()
        async with app_of(url, BigJars, mode="development") as building:
            await until(lambda: building.progress["jars"].generation == 2)
            assert unaware.progress["jars"].generation == 1
            before = 10  # what the new generation has of the first filling; the one that is left has 1
            for _ in range(6):
                receipt = await unaware.commands.dispatch(FillJar(id=id, spoons=1))
                row = await unaware.queries.dispatch(GetJar(id=id), after=receipt, within=5.0)
                assert row is not None
                assert row.spoons > before
                before = row.spoons
        assert unaware.progress["jars"].generation == 2


async def test_a_row_is_found_right_after_a_swap(url: str) -> None:
    """R1: that a row is not there is no answer, when it was looked for where nothing is written any more."""
    async with app_of(url) as app:
        (definition,) = app.definitions
        subject, is_over = Subject(definition, app.events, app.views, app.codec, PACE), asyncio.Event()

        async def find_what_was_filled() -> None:
            while not is_over.is_set():
                receipt = await app.commands.dispatch(FillJar(id=new_id()))
                assert await app.queries.dispatch(FindJar(id=receipt.result), after=receipt, within=20.0)

        async with asyncio.TaskGroup() as group:
            group.create_task(find_what_was_filled())
            for _ in range(3):
                assert (await rebuild(subject)).is_swapped
            is_over.set()


async def test_rows_of_an_older_version_are_served_and_said_to_be_frozen(url: str) -> None:
    async with filled(url) as id, app_of(url, NewJars, on_change="freeze") as app:
        answer = await app.queries.answer(GetJar(id=id))
        assert answer.value is not None
        assert (answer.value.spoons, answer.is_stale, answer.reason) == (3, True, "frozen")
        receipt = await app.commands.dispatch(FillJar(id=id))
        with pytest.raises(StaleReadError) as caught:
            await app.queries.dispatch(GetJar(id=id), after=receipt, within=5.0)
        assert caught.value.reason == "frozen"
        status = await app.status()
        assert status.projections[0].state == "frozen"
        assert "`diptych projection rebuild jars`" in status.problems[0]


async def test_rows_of_another_shape_are_not_served_and_the_command_is_named(url: str) -> None:
    projection, model = reshaped()
    async with filled(url) as id, app_of(url, projection, model, on_change="freeze") as app:
        for asked in (app.queries.dispatch(GetJar(id=id)), app.queries.dispatch(CountSpoons())):
            with pytest.raises(StaleReadError, match="Type `diptych projection rebuild jars`") as caught:
                await asked
            assert caught.value.reason == "frozen"


async def test_rows_of_another_shape_are_served_when_they_are_built_again(url: str) -> None:
    projection, model = reshaped()
    async with filled(url) as id, app_of(url, projection, model) as app:
        await app.caught_up()
        row: Any = await app.queries.dispatch(GetJar(id=id))
        assert row.spoons == "many"


async def test_a_paused_projection_answers_and_says_that_it_stands(url: str) -> None:
    id = new_id()
    async with app_of(url) as app:
        await app.commands.dispatch(FillJar(id=id))
        await app.caught_up()
        await app.views.leases.pause("jars", 60.0, reason="maintenance", by="ada")
        await until(lambda: app.progress["jars"].state == "paused")
        receipt = await app.commands.dispatch(FillJar(id=id))
        answer = await app.queries.answer(GetJar(id=id), after=receipt, within=5.0)
        assert answer.value is not None
        assert (answer.value.spoons, answer.reason) == (1, "paused")


async def test_a_process_that_only_answers_says_how_everything_is(url: str) -> None:
    id = new_id()
    async with app_of(url, tuning=WEB) as web:
        await web.commands.dispatch(FillJar(id=id))
        nobody = (await web.status()).projections[0]
        assert (nobody.state, nobody.position, nobody.lag_events) == ("stopped", 0, 1)
        assert "no living process works on jars" in str(nobody.error)
        assert {lane.owner for lane in nobody.lanes} == {""}
        async with app_of(url) as worker:
            await worker.caught_up()
            found = (await web.status()).projections[0]
            assert (found.state, found.position, found.lag_events, found.generation) == ("running", 1, 0, 1)
            assert len({lane.owner for lane in found.lanes} - {""}) == 1
            assert [lane.position for lane in found.lanes] == [1] * 16


async def test_what_was_just_swapped_in_is_worked_on_though_its_workers_have_not_seen_it_yet(url: str) -> None:
    """Else every rebuild would turn the health of processes that only answer red for a moment."""
    id, slow = new_id(), PACE._replace(lease=60.0)
    web_only = Tuning(pace=slow, runs_projections=False)
    async with app_of(url, tuning=Tuning(pace=slow)) as worker, app_of(url, tuning=web_only) as web:
        await web.commands.dispatch(FillJar(id=id))
        await worker.caught_up()
        (definition,) = web.definitions
        subject = Subject(definition, web.events, web.views, web.codec, slow)
        done = await rebuild(subject)
        found = (await web.status()).projections[0]
        assert (found.state, found.generation) == ("running", done.new.number)


async def test_changed_code_is_reported_in_production(url: str) -> None:
    async with filled(url), app_of(url, BigJars, mode="production") as app:
        await until(lambda: app.progress["jars"].state == "running")
        one = (await app.status()).projections[0]
        assert "`diptych projection rebuild jars`, or `diptych projection accept jars`" in str(one.note)
