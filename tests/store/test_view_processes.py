"""Several processes on one file of rows: one fold over the log, whoever does which part of it."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from diptych.errors import CheckpointMovedError
from diptych.store.batches import LaneMove, ProjectionTables, RowChanges, ViewBatch
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.views import SqliteViewStore, views_file
from diptych.store.tables import Column, Kind
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally

pytestmark = pytest.mark.anyio

_STORE = UUID(int=7)

_WORKER = """
import asyncio, sys
from uuid import UUID
from diptych.errors import CheckpointMovedError
from diptych.store.batches import Load, LaneMove, RowChanges, ViewBatch
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.views import SqliteViewStore, views_file
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally

async def main():
    store = SqliteViewStore(views_file(sys.argv[1]), StoreSettings())
    await store.open([TALLIES], store_id=UUID(int=7))
    mine = 0
    while (at := await store.checkpoint("tallies")).position < 300:
        rows = (await store.load(1, [Load(TALLY, ("name",), [("events",)])]))["tally"]
        row = Tally(name="events", total=(rows[0].total if rows else 0) + 1)
        moves = [LaneMove(0, at.epoch, at.position)]
        try:
            await store.commit(ViewBatch("tallies", 1, moves, at.position + 1, changes=[RowChanges(TALLY, [row])]))
            mine += 1
        except CheckpointMovedError:
            continue
    await store.close()
    print(mine)

asyncio.run(main())
"""


async def opened(path: str, tables: ProjectionTables = TALLIES) -> SqliteViewStore:
    store = SqliteViewStore(views_file(path), StoreSettings())
    await store.open([tables], store_id=_STORE)
    return store


def one_more(after: int, tables: ProjectionTables = TALLIES) -> ViewBatch:
    table = tables.tables[0]
    changes = [RowChanges(table, [Tally(name="events", total=after + 1)])]
    return ViewBatch(tables.name, 1, [LaneMove(0, 0, after)], after + 1, changes=changes)


async def test_two_processes_fold_each_event_once_p1(tmp_path: Path) -> None:
    """Each loads, folds and commits as it can; whoever lost the race for a checkpoint has written nothing."""
    path = str(tmp_path / "shop.views.db")
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WORKER, path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    outputs = await asyncio.gather(*[worker.communicate() for worker in workers])
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    store = await opened(path)
    async with store.reader() as session:
        row = await session.get(TALLY, ("events",))
    assert row is not None
    assert row.total == (await store.checkpoint("tallies")).position == 300
    assert sum(int(out) for out, _ in outputs) == 300
    await store.close()


async def test_who_lost_the_checkpoint_has_written_nothing_p1(tmp_path: Path) -> None:
    path = str(tmp_path / "shop.views.db")
    first, second = await opened(path), await opened(path)
    await first.commit(one_more(0))
    with pytest.raises(CheckpointMovedError):
        await second.commit(one_more(0))
    await second.commit(one_more(1))
    await first.close()
    await second.close()


async def test_old_code_goes_on_with_its_own_rows_beside_new_code_p1(tmp_path: Path) -> None:
    """A rolling deployment: each version of the code has rows that fit it, and neither touches the other's."""
    path = str(tmp_path / "shop.views.db")
    wider = replace(TALLY, columns=(*TALLY.columns, Column("note", Kind.TEXT, is_nullable=True)))
    old = await opened(path)
    await old.commit(one_more(0))
    new = await opened(path, TALLIES._replace(tables=(wider,)))
    built = await new.generations.begin(TALLIES._replace(tables=(wider,)))
    await old.commit(one_more(1))
    assert [place.position for place in await new.places("tallies", built.number)] == [0]
    await new.close()
    await old.close()
