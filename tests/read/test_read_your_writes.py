"""R1: with a receipt, an answer includes that append, or says in time that it does not."""

import asyncio
import shutil
import time
from pathlib import Path
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
    NotFoundError,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Receipt,
    Repository,
    StaleReadError,
    new_id,
    on,
)
from diptych.errors import OtherHistoryError
from diptych.projections.plan import Mode
from diptych.stream import token

pytestmark = pytest.mark.anyio


class ParcelSent(DomainEvent, name="read-your-writes.sent"):
    to: str


class Parcel(Aggregate, name="read-your-writes"):
    pass


class SendParcel(Command[UUID]):
    to: str


class ParcelRow(ReadModel):
    id: Annotated[UUID, Key]
    to: str


class SlowParcels(Projection[ParcelRow]):
    """Takes its time, so that a query that does not wait for it comes too early."""

    @on
    def sent(self, event: ParcelSent, meta: Metadata) -> ParcelRow:
        time.sleep(0.1)
        return ParcelRow(id=meta.stream.id, to=event.to)


class GetParcel(Query[ParcelRow]):
    id: UUID


class FindParcels(Query[list[ParcelRow]]):
    pass


@pytest.fixture
def app() -> App:
    return made("async")


def made(mode: Mode, url: str = "memory:") -> App:
    """An app that sends parcels."""
    app = App(url)
    app.project(SlowParcels, mode=mode)

    @app.command_handler
    async def send(command: SendParcel, parcels: Repository[Parcel]) -> UUID:
        parcel = Parcel(new_id())
        parcel.record(ParcelSent(to=command.to))
        parcels.add(parcel)
        return parcel.id

    @app.query_handler
    async def get(query: GetParcel, read: ReadModels) -> ParcelRow:
        return await read.one(ParcelRow, query.id)

    @app.query_handler
    async def find(query: FindParcels, read: ReadModels) -> list[ParcelRow]:
        return await read.find(ParcelRow)

    return app


async def test_the_very_first_query_for_a_row_that_must_be_there_waits_for_it(app: App) -> None:
    """Which tables a handler reads is known after its first call; that call fails here, on a row nobody waited for."""
    async with app:
        sent = await app.commands.dispatch(SendParcel(to="Ada"))
        row = await app.queries.dispatch(GetParcel(id=sent.result), after=sent, within=5.0)
        assert row.to == "Ada"


async def test_a_row_missed_in_a_stale_read_is_not_said_to_be_missing(app: App) -> None:
    async with app:
        sent = await app.commands.dispatch(SendParcel(to="Ada"))
        with pytest.raises(StaleReadError):
            await app.queries.dispatch(GetParcel(id=sent.result), after=sent, within=0.0)


async def test_a_row_that_is_not_there_in_a_fresh_read_is_said_to_be_missing(app: App) -> None:
    async with app:
        sent = await app.commands.dispatch(SendParcel(to="Ada"))
        with pytest.raises(NotFoundError):
            await app.queries.dispatch(GetParcel(id=new_id()), after=sent, within=5.0)


class LookAt(Command):
    id: UUID


async def test_a_command_that_recorded_nothing_is_read_after_too_r1(app: App) -> None:
    """Its receipt stands at what it decided on: whoever was told that must be able to see it."""

    @app.command_handler
    async def look(command: LookAt, parcels: Repository[Parcel]) -> None:
        await parcels.get(command.id)

    async with app:
        await app.queries.answer(FindParcels())
        sent = await app.commands.dispatch(SendParcel(to="Ada"))
        looked = await app.commands.dispatch(LookAt(id=sent.result))
        assert looked.position == sent.position
        found = await app.queries.dispatch(FindParcels(), after=looked, within=5.0)
        assert [row.to for row in found] == ["Ada"]


async def test_the_deadline_is_one_for_all_that_a_query_waits_for_r1(app: App) -> None:
    """A token from far ahead, sent to a handler that reads another table each time it is called."""
    async with app:
        async with asyncio.timeout(5):
            with pytest.raises(StaleReadError):
                await app.queries.dispatch(FindParcels(), after=token(10**9, bytes(16)), within=0.05)


async def test_an_inline_row_that_an_append_did_not_write_is_not_taken_for_written_r1() -> None:
    """Somebody has it stand, as a rebuild does for a moment, and this process has not heard of that yet."""
    app = made("inline")
    async with app:
        leases = app.events.inline.leases
        sent = await app.commands.dispatch(SendParcel(to="Ada"))
        found = await app.queries.dispatch(FindParcels(), after=sent, within=5.0)
        assert [row.to for row in found] == ["Ada"]
        await leases.pause("slow_parcels", 60, reason="a look", by="ada")
        sent = await app.commands.dispatch(SendParcel(to="Bob"))
        answer = await app.queries.answer(FindParcels(), after=sent, within=0.05)
        assert (len(answer.value), answer.is_stale) == (1, True)
        await leases.resume("slow_parcels")
        found = await app.queries.dispatch(FindParcels(), after=sent, within=5.0)
        assert sorted(row.to for row in found) == ["Ada", "Bob"]


async def test_a_token_of_a_history_that_was_restored_over_is_refused_r1(tmp_path: Path) -> None:
    """Another event has its position now: the answer would have seen that one, and not what the token stands for."""
    log, backup = tmp_path / "parcels.db", tmp_path / "backup.db"
    async with made("async", f"sqlite:///{log}") as app:
        kept = await app.commands.dispatch(SendParcel(to="Ada"))
    shutil.copy(log, backup)
    async with made("async", f"sqlite:///{log}") as app:
        lost = await app.commands.dispatch(SendParcel(to="Bob"))
    (tmp_path / "parcels.views.db").unlink()
    shutil.copy(backup, log)
    async with made("async", f"sqlite:///{log}") as app:
        others: list[Receipt[UUID] | str] = [await app.commands.dispatch(SendParcel(to="Eve")) for _ in range(3)]
        for after in (lost, lost.token):
            with pytest.raises(OtherHistoryError, match=lost.token):
                await app.queries.dispatch(FindParcels(), after=after, within=5.0)
            with pytest.raises(OtherHistoryError, match=f"position {lost.position} holds another event"):
                await app.queries.answer(FindParcels(), after=after, within=5.0)
        await app.caught_up()
        for after in (*others, kept.token):
            found = await app.queries.dispatch(FindParcels(), after=after, within=5.0)
            assert len(found) == 4


@pytest.mark.parametrize("backend", ["memory:", "sqlite:///{}/parcels.db"])
async def test_a_forged_token_is_of_another_history_or_asks_for_nothing_r1(backend: str, tmp_path: Path) -> None:
    async with made("async", backend.format(tmp_path)) as app:
        await app.commands.dispatch(SendParcel(to="Ada"))
        await app.caught_up()
        forged = bytes([7] * 16)
        found = await app.queries.dispatch(FindParcels(), after=token(0, forged))
        assert len(found) == 1
        with pytest.raises(OtherHistoryError):
            await app.queries.dispatch(FindParcels(), after=token(1, forged))
        assert (await app.queries.answer(FindParcels(), after=token(2, forged), within=0.0)).reason == "behind"
