"""What the processes of a crew do: they work on three projections of a shop, one of each kind, until they are ended."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from diptych.errors import CheckpointMovedError
from diptych.projections.site import Rules
from diptych.store.batches import Db, LaneMove, ViewBatch
from diptych.store.protocols import ViewStore
from diptych.subscriptions import coordinator
from diptych.subscriptions.reading import Pace
from tests.projections import shop
from tests.projections.running import running
from tests.projections.test_liveness import Around

Script = Callable[[Db], Awaitable[None]]
PROJECTIONS = (shop.Baskets, shop.Sales, shop.SalesBySql)  # isolated, keyed otherwise, by hand


class Labour(NamedTuple):
    """Where to work.

    In `folder` a file `before.PID` has that process stop itself right before its next commit, and `inside.PID` within
    the transaction of its next batch of hand-written SQL.

    `is_elsewhere`: nobody can tell by its machine that it has ended. `forges`: it writes under whatever epoch is the
    last, as a store does that knows no epochs.
    """

    url: str
    folder: Path
    lease: float
    is_elsewhere: bool = False
    forges: bool = False


def work(labour: Labour) -> None:
    """Work until ended."""
    if labour.is_elsewhere:
        vars(coordinator)["this_place"] = str
    asyncio.run(_work(labour))


async def _work(labour: Labour) -> None:
    def wrap(views: ViewStore) -> ViewStore:
        wrapped: Any = Faltering(views, labour)
        return wrapped  # type: ignore[no-any-return]

    pace = Pace(poll=0.2, save=0.1, first_pause=0.01, longest_pause=0.2, lease=labour.lease)
    async with running(labour.url, *PROJECTIONS, rules=Rules(pace), wrap_views=wrap):
        await asyncio.Event().wait()


class Faltering(Around):
    """A view store whose process stops around a commit when that is asked for."""

    def __init__(self, inner: Any, labour: Labour) -> None:
        super().__init__(inner)
        self._labour = labour

    async def commit(self, batch: ViewBatch) -> None:
        """Stop, or not; commit then, and note it when that is refused."""
        if batch.changes or batch.script:
            self._stop("before")
        if batch.script is not None:
            batch = batch._replace(script=partial(self._stopped, batch.script))
        if self._labour.forges:
            batch = await self._forged(batch)
        try:
            await self.inner.commit(batch)
        except CheckpointMovedError:
            with suppress(OSError), (self._labour.folder / "refused").open("a") as noted:
                noted.write(f"{os.getpid()} {batch.projection}\n")
            raise

    def _stop(self, when: str) -> None:
        order = self._labour.folder / f"{when}.{os.getpid()}"
        if order.exists():
            order.unlink()
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # right here; else another thread may take it

    async def _stopped(self, script: Script, db: Db) -> None:
        self._stop("inside")
        await script(db)

    async def _forged(self, batch: ViewBatch) -> ViewBatch:
        places = await self.inner.places(batch.projection, batch.generation)
        moves = [LaneMove(one.lane, places[one.lane].epoch, places[one.lane].position) for one in batch.moves]
        return batch._replace(moves=moves)
