"""Rows of read models move with their store, whatever is in them, each projection as far as it was (P2)."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from diptych.errors import StoreUnavailableError
from diptych.read.models import table_of
from diptych.read.read_models import ReadModels
from diptych.store import copying_rows
from diptych.store.batches import LaneMove, ParkedEvent, ProjectionTables, RowChanges, ViewBatch
from diptych.store.copying import Moved, copy
from diptych.store.copying_rows import Tell
from diptych.store.opening import Stores, open_stores
from diptych.store.protocols import Appended
from diptych.store.sqlite.moving_rows import plain
from diptych.testing.contracts.events_samples import event, stream, to
from tests.store.test_views_alike import ROWS, Wide

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

WIDE = ProjectionTables("wide", [table_of(Wide)], version=2)


@asynccontextmanager
async def opened(url: str, wide: ProjectionTables = WIDE, *, is_inline: bool = False) -> AsyncIterator[Stores]:
    stores = open_stores(url)
    await stores.events.open()
    try:
        await stores.events.inline.open([wide] if is_inline else [], store_id=stores.events.store_id)
        await stores.views.open([] if is_inline else [wide], store_id=stores.events.store_id)
        yield stores
    finally:
        await stores.views.close()
        await stores.events.close()


async def fill(url: str, *, is_inline: bool = False) -> Appended:
    """Make a log, rows of a part of it, and a parked event."""
    async with opened(url, is_inline=is_inline) as stores:
        for _ in range(5):
            await stores.events.append(to(stream(), event()))
        at = (await stores.events.read_log(after=2, limit=1)).events[0]
        moves, changes = [LaneMove(0, 0, 0)], [RowChanges(WIDE.tables[0], ROWS)]
        parked = [ParkedEvent("k", 2, "no"), ParkedEvent("k", 3)]
        views = stores.events.inline if is_inline else stores.views
        await views.commit(ViewBatch("wide", 1, moves, at.position, at.event_id, at.recorded_at, changes, parked))
    return Appended(at.position, at.event_id, at.recorded_at, ())


def silent(what: str, done: int, total: int) -> None:
    assert done <= total


async def move(source: str, target: str, tell: Tell = silent) -> Moved:
    return await copy(source, target, [WIDE], tell)


@pytest.fixture
def source(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/shop.db"


async def rows_of(stores: Stores) -> list[Wide]:
    reading = ReadModels(stores.views)
    try:
        return await reading.find(Wide, order_by=("id", "name"), limit=1000)
    finally:
        await reading.close()


@pytest.mark.parametrize("is_inline", [False, True], ids=["asynchronous", "inline"])
async def test_rows_of_every_kind_arrive_as_they_are(source: str, postgres_url: str, is_inline: bool) -> None:
    checkpoint = await fill(source, is_inline=is_inline)
    moved = await move(source, postgres_url)
    assert [line for line in moved.lines if line.what == "wide"] == [("wide", len(ROWS), len(ROWS))]
    async with opened(source, is_inline=is_inline) as file, opened(postgres_url, is_inline=is_inline) as server:
        assert await rows_of(file) == await rows_of(server)
        for stores in (file, server):
            views = stores.events.inline if is_inline else stores.views
            found = await views.checkpoint("wide")
            assert (found.position, found.event_id) == (checkpoint.position, checkpoint.event_id)
            assert await views.parked("wide") == [ParkedEvent("k", 2, "no"), ParkedEvent("k", 3)]


async def test_a_projection_goes_on_from_its_checkpoint_on_the_server(source: str, postgres_url: str) -> None:
    """P1: the next batch is accepted at the moved checkpoint, and at no other."""
    checkpoint = await fill(source)
    await move(source, postgres_url)
    async with opened(postgres_url) as server:
        after = (await server.events.read_log(after=checkpoint.position, limit=1)).events[0]
        (live,) = await server.views.generations.all("wide")
        moves = [LaneMove(0, 0, checkpoint.position)]
        await server.views.commit(ViewBatch("wide", live.number, moves, after.position, after.event_id))
        assert (await server.views.checkpoint("wide")).position == checkpoint.position + 1


async def test_rows_are_there_with_their_checkpoint_or_not_at_all(
    source: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: stopped between two pages nothing is left; the next attempt writes all."""
    await fill(source)
    monkeypatch.setattr("diptych.store.sqlite.moving_rows._PAGE", 50)

    class StoppedError(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if what == "wide" and done > 100:
            raise StoppedError

    with pytest.raises(StoppedError):
        await move(source, postgres_url, stop)
    async with opened(postgres_url) as server:
        assert await rows_of(server) == []
        assert (await server.views.checkpoint("wide")).position == 0
        with pytest.raises(StoreUnavailableError):
            await server.events.append(to(stream(), event()))
    await move(source, postgres_url)
    async with opened(postgres_url) as server:
        assert len(await rows_of(server)) == len(ROWS)


async def test_a_row_that_arrives_changed_is_noticed(
    source: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(source)
    chance = random.Random(1)
    monkeypatch.setattr(copying_rows, "plain", lambda table, row: [*plain(table, row), chance.random()])
    with pytest.raises(Exception, match="wide are not the same"):
        await move(source, postgres_url)
    async with opened(source) as file:
        await file.events.append(to(stream(), event()))
