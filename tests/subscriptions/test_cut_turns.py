"""A turn that was sent when its lane was let go: the next owner has it refused, and no log complains of that."""

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest

from diptych.errors import CheckpointMovedError
from diptych.store.batches import Checkpoint
from diptych.store.leases import Held
from diptych.store.protocols import Append
from diptych.subscriptions.lane_place import LanePlace
from diptych.subscriptions.tasks import tasks_table
from diptych.subscriptions.turn import Turn

pytestmark = pytest.mark.anyio


class Store:
    """Refuses an append as soon as it may."""

    def __init__(self) -> None:
        self.is_sent, self.may_answer = asyncio.Event(), asyncio.Event()

    async def append(self, append: Append) -> Any:
        self.is_sent.set()
        await self.may_answer.wait()
        raise CheckpointMovedError("send_receipt", 0, 1, 2)


@pytest.mark.parametrize("is_asked", [True, False], ids=["somebody asks how it ended", "nobody does"])
async def test_its_refusal_is_no_error_that_nobody_looked_at(is_asked: bool) -> None:
    """P5"""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    store, duty, table = Store(), SimpleNamespace(name="send_receipt"), tasks_table("send_receipt")
    desk: Any = SimpleNamespace(store=store, generation=1)
    place = LanePlace(duty, desk, Held(0, 1, Checkpoint(), True, 0))
    turn = asyncio.create_task(place.commit(Turn(0, 0, table, is_real=True), at_once=True))
    await store.is_sent.wait()
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    writing = place._cut
    assert writing is not None
    store.may_answer.set()
    if is_asked:
        assert not await place.is_sure(5.0)
    await asyncio.wait([writing])
    del place, turn, writing
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
