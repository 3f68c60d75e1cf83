"""Waiting for projections by position, never by sleeping; and what is said when one does not get there."""

from typing import Annotated
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
    ReadModel,
    Repository,
    StaleReadError,
    new_id,
    on,
)
from diptych.app.tuning import Tuning

pytestmark = pytest.mark.anyio


class Knocked(DomainEvent):
    times: int


class Door(Aggregate, name="caught-up-door"):
    def knock(self, times: int) -> None:
        self.record(Knocked(times=times))


class Knock(Command):
    door_id: UUID
    times: int = 1


class Knocks(ReadModel):
    id: Annotated[UUID, Key]
    total: int


class ByDoor(Projection[Knocks], name="knocks_by_door"):
    """Not isolated, for its key is not the stream's id alone: a failure stops it."""

    @on(key=lambda event, meta: meta.stream.id)
    def knocked(self, row: Knocks | None, event: Knocked, meta: Metadata) -> Knocks:
        if event.times == 13:
            raise ValueError("thirteen knocks")
        return Knocks(id=meta.stream.id, total=(row.total if row else 0) + event.times)


class Isolated(Projection[Knocks], name="knocks_apart"):
    """Isolated: what it cannot apply is parked, and it gets to the end of the log without it."""

    @on
    def knocked(self, row: Knocks | None, event: Knocked, meta: Metadata) -> Knocks:
        if event.times == 13:
            raise ValueError("thirteen knocks")
        return Knocks(id=meta.stream.id, total=(row.total if row else 0) + event.times)


def knocking(tuning: Tuning, projection: type[Projection[Knocks]] = ByDoor) -> App:
    """An app with a door."""
    app = App("memory:", tuning=tuning)
    app.project(projection)

    @app.command_handler
    async def knock(command: Knock, doors: Repository[Door]) -> None:
        (await doors.get_or_new(command.door_id)).knock(command.times)

    return app


@pytest.fixture
def app() -> App:
    return knocking(Tuning())


async def test_it_returns_when_every_projection_is_where_the_log_ended(app: App) -> None:
    async with app:
        for _ in range(20):
            receipt = await app.commands.dispatch(Knock(door_id=new_id()))
        await app.caught_up()
        assert app.progress["knocks_by_door"].saved >= receipt.position


async def test_what_it_waited_for_in_vain_is_told_with_place_and_error(app: App) -> None:
    async with app:
        await app.commands.dispatch(Knock(door_id=new_id()))
        await app.caught_up()
        await app.commands.dispatch(Knock(door_id=new_id(), times=13))
        await app.commands.dispatch(Knock(door_id=new_id()))
        with pytest.raises(StaleReadError) as stale:
            await app.caught_up()
    assert stale.value.projections == ("knocks_by_door",)
    assert "knocks_by_door: still stopped" in str(stale.value)
    assert "at position 1 of 3; last error: knocks_by_door failed on position 2 (Knocked)" in str(stale.value)
    assert "ValueError: thirteen knocks" in str(stale.value)


async def test_one_that_nobody_works_on_is_told_with_its_place() -> None:
    app = knocking(Tuning(runs_projections=False))
    async with app:
        await app.commands.dispatch(Knock(door_id=new_id()))
        with pytest.raises(
            StaleReadError,
            match=r"knocks_by_door: still behind after .* s, at position 0 of 1; last error: no living process",
        ):
            await app.caught_up(timeout=0.05)


async def test_what_is_parked_is_told_though_it_got_there(caplog: pytest.LogCaptureFixture) -> None:
    """It returned as if all had been applied, and a test looked for a row that could not be there."""
    app, doors = knocking(Tuning(), Isolated), [new_id() for _ in range(5)]
    async with app:
        await app.commands.dispatch(Knock(door_id=new_id()))
        assert list(await app.caught_up()) == []
        await app.commands.dispatch(Knock(door_id=doors[0], times=13))
        await app.commands.dispatch(Knock(door_id=doors[0]))
        (told,) = await app.caught_up()
        assert told.startswith(
            f"knocks_apart lacks events: 2 events are parked, of {doors[0]}, since position 2: "
            "knocks_apart failed on position 2 (Knocked)"
        )
        assert told.endswith("ValueError: thirteen knocks")
        await app.caught_up()
        assert [one.message for one in caplog.records if one.levelname == "WARNING"] == [told]
        for door in doors[1:]:
            await app.commands.dispatch(Knock(door_id=door, times=13))
        (more,) = await app.caught_up()
        assert f"6 events are parked, of {doors[0]}, {doors[1]}, {doors[2]} and 2 more, since position 2" in more
