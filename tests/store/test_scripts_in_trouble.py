"""Hand-written SQL on a database that fails: the disk's trouble is never the event's, and never swallowed (X2, P2)."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from diptych.errors import ProgrammingError, StoreFullError
from diptych.store.batches import Db
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.connection import DatabaseFile
from diptych.store.sqlite.views import SqliteViewStore, views_file
from diptych.store.sqlite.writer import Task
from diptych.testing.contracts.view_rows import STORE, TALLIES, batch

pytestmark = pytest.mark.anyio

_ADD = "INSERT INTO tally (name, total) VALUES (:name, :by) ON CONFLICT (name) DO UPDATE SET total = :by"


@pytest.fixture
def file(tmp_path: Path) -> DatabaseFile:
    """Where the rows are."""
    return views_file(str(tmp_path / "shop.views.db"))


@pytest.fixture
async def views(file: DatabaseFile) -> AsyncIterator[SqliteViewStore]:
    """An open store."""
    store = SqliteViewStore(file, StoreSettings())
    await store.open([TALLIES], store_id=STORE)
    yield store
    await store.close()


def _count(file: DatabaseFile) -> int:
    connection = apsw.Connection(file.path)
    try:
        return int(connection.execute("SELECT count(*) FROM tally__g1").get)
    finally:
        connection.close()


async def _limit(views: SqliteViewStore, pages: int) -> None:
    def work(connection: apsw.Connection) -> None:
        connection.pragma("max_page_count", pages)

    assert views._writer is not None
    await views._writer.submit(Task(work))


async def test_a_full_disk_is_told_even_when_the_script_swallows_it(views: SqliteViewStore, file: DatabaseFile) -> None:
    """X2, P2: SQLite has given up the transaction by then, so whatever follows would be written without it."""

    async def swallowing(db: Db) -> None:
        for number in range(500):
            with contextlib.suppress(Exception):
                await db.execute(_ADD, name=f"{number}" * 200, by=1)

    await _limit(views, 50)
    with pytest.raises(StoreFullError):
        await views.commit(batch(TALLIES, generation=1, script=swallowing))
    assert _count(file) == 0
    assert (await views.checkpoint("tallies")).position == 0
    await _limit(views, 100_000)
    await views.commit(batch(TALLIES, generation=1, script=swallowing))
    assert _count(file) == 500


async def test_a_value_that_the_table_refuses_is_the_script_s_fault(views: SqliteViewStore) -> None:
    async def wrong(db: Db) -> None:
        await db.execute("UPDATE tally SET total = NULL")
        await db.execute("INSERT INTO tally (name, total) VALUES ('a', 'many') ON CONFLICT DO NOTHING")

    with pytest.raises(ProgrammingError, match=r"tallies: .*INSERT INTO tally"):
        await views.commit(batch(TALLIES, generation=1, script=wrong))
