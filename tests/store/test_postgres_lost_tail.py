"""Rows beside their log: a batch of events that no log holds any more is not written."""

import pytest

from diptych.errors import CheckpointMovedError
from diptych.store.opening import open_stores
from diptych.store.protocols import CheckpointMove, RowChanges, ViewBatch
from diptych.testing.contracts.events_samples import event, stream, to
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally

pytestmark = pytest.mark.anyio


async def test_a_checkpoint_moves_only_onto_an_event_of_the_log(postgres_url: str) -> None:
    """P1, P2: a fail-over may have lost the tail while a batch of it was folded."""
    events, views, _ = open_stores(postgres_url)
    await events.open()
    await views.open([TALLIES], store_id=events.store_id)
    try:
        stored = await events.append(to(stream(), event(), event()))
        rows = [RowChanges(TALLY, [Tally(name="a", total=1)])]
        for position, event_id in ((2, b"\1" * 16), (3, stored.event_id), (1, stored.event_id)):
            lost = CheckpointMove("tallies", 0, 0, 0, position, event_id)
            with pytest.raises(CheckpointMovedError):
                await views.commit(ViewBatch("tallies", lost, 0, rows))
        async with views.reader() as session:
            assert await session.get(TALLY, ("a",)) is None
        kept = CheckpointMove("tallies", 0, 0, 0, stored.position, stored.event_id)
        await views.commit(ViewBatch("tallies", kept, stored.recorded_at, rows))
        lost = CheckpointMove("tallies", 0, 0, stored.position, 3, b"\1" * 16)
        with pytest.raises(CheckpointMovedError):
            await views.commit(ViewBatch("tallies", lost, 0, [RowChanges(TALLY, [Tally(name="a", total=2)])]))
        async with views.reader() as session:
            assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)
    finally:
        await views.close()
        await events.close()
