"""A batch of events that the log does not hold any more is not written, wherever its rows are."""

from collections.abc import Iterator

import pytest

from diptych.errors import CheckpointMovedError
from diptych.store.batches import LaneMove, RowChanges, ViewBatch
from diptych.store.opening import open_stores
from diptych.testing.contracts.events_samples import event, stream, to
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally
from tests.postgres import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NO_EVENT = b"\1" * 16


@pytest.fixture
def elsewhere(postgres: Server, postgres_url: str) -> Iterator[str]:
    """Another schema."""
    yield f"{postgres_url}_rows"
    postgres.query(f"DROP SCHEMA IF EXISTS {postgres_url.rpartition('schema=')[2]}_rows CASCADE")


@pytest.mark.parametrize("where", ["asynchronous", "inline", "elsewhere"])
async def test_a_checkpoint_moves_only_onto_an_event_of_the_log(postgres_url: str, elsewhere: str, where: str) -> None:
    """P1, P2, R3: a fail-over may have lost the tail while a batch of it was folded."""
    events, views, _ = open_stores(postgres_url, views=elsewhere if where == "elsewhere" else None)
    if where == "inline":
        views = events.inline
    await events.open()
    await views.open([TALLIES], store_id=events.store_id)

    async def write(total: int, expected: int, position: int, event_id: bytes) -> None:
        changes = [RowChanges(TALLY, [Tally(name="a", total=total)])]
        await views.commit(ViewBatch("tallies", 1, [LaneMove(0, 0, expected)], position, event_id, changes=changes))

    try:
        stored = await events.append(to(stream(), event(), event()))
        for position, event_id in ((2, NO_EVENT), (3, stored.event_id), (1, stored.event_id)):
            with pytest.raises(CheckpointMovedError, match="the log lacks the event that was read"):
                await write(1, 0, position, event_id)
        async with views.reader() as session:
            assert await session.get(TALLY, ("a",)) is None
        await write(1, 0, stored.position, stored.event_id)
        with pytest.raises(CheckpointMovedError):
            await write(2, stored.position, 3, NO_EVENT)
        async with views.reader() as session:
            assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)
    finally:
        await views.close()
        await events.close()
