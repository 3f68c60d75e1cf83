"""Runs a projection's hand-written SQL in a store of its own, as often as asked, and reads the rows it made.

Rule: a store in memory's place, gone afterwards; no other projection and no log in it.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from diptych.clock import new_id
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.projections.batch import script_of
from diptych.projections.piece import piece
from diptych.projections.plan import Definition
from diptych.store.batches import Db, LaneMove, ViewBatch
from diptych.store.opening import open_stores
from diptych.store.protocols import ViewStore


class _Lost(Exception):  # noqa: N818 - ends a transaction that shall not commit
    """The attempt is over before its commit."""


def run_script(
    definition: Definition, codec: Codec, batches: Sequence[Sequence[StoredEvent]], attempts: int
) -> dict[str, dict[Any, Any]]:
    """Return the rows by key, by table. Of several attempts at a batch only the last one commits."""
    with ThreadPoolExecutor(1, thread_name_prefix="scenario") as thread:
        return thread.submit(asyncio.run, _run(definition, codec, batches, attempts)).result()


async def _run(
    definition: Definition, codec: Codec, batches: Sequence[Sequence[StoredEvent]], attempts: int
) -> dict[str, dict[Any, Any]]:
    views = open_stores("memory:").views
    await views.open([definition.tables], store_id=new_id())
    try:
        at = 0
        for batch in batches:
            for left in reversed(range(attempts)):
                with suppress(_Lost):
                    at = await _commit(views, definition, codec, batch, at, is_lost=left > 0)
        return await _rows(views, definition)
    finally:
        await views.close()


async def _commit(
    views: ViewStore, definition: Definition, codec: Codec, batch: Sequence[StoredEvent], at: int, *, is_lost: bool
) -> int:
    """Run one batch in a transaction, and return where the projection stands then."""
    script = script_of(definition, piece(batch, definition.takes, codec))
    if script is None:
        return at
    run, to = script, batch[-1].position

    async def attempt(db: Db) -> None:
        await run(db)
        if is_lost:
            raise _Lost

    (generation,) = await views.generations.all(definition.name)
    moves = [LaneMove(0, 0, at)]
    await views.commit(ViewBatch(definition.name, generation.number, moves, to, b"", 0, script=attempt))
    return to


async def _rows(views: ViewStore, definition: Definition) -> dict[str, dict[Any, Any]]:
    found: dict[str, dict[Any, Any]] = {}
    async with views.reader() as session:
        for keys in definition.sheets:
            table = keys.table
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            raw = await session.fetch(f'SELECT {columns} FROM "{table.name}"', {})  # noqa: S608 - a checked table
            rows = session.decode(table, raw)
            found[table.name] = {tuple(getattr(row, name) for name in table.key): row for row in rows}
    return found
