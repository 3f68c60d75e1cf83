"""What every view store lets hand-written SQL of a projection do, inside its batch.

Rule: it takes effect once, with its checkpoint, and reaches its own tables alone.
"""

import asyncio

import pytest

from diptych.errors import CheckpointMovedError, ProgrammingError
from diptych.store.batches import Db, Load, RowChanges
from diptych.store.protocols import ViewStore
from diptych.testing.contracts.view_rows import GENERATION, SHOP, STOCK, TALLIES, TALLY, Stock, Tally, batch, id_of
from diptych.testing.contracts.views import ViewStoreContract

_ADD = "INSERT INTO tally (name, total) VALUES (:name, :by) ON CONFLICT (name) DO UPDATE SET total = tally.total + :by"

REFUSED = {
    "INSERT INTO tally (name, total) VALUES ('a', 1)": "needs ON CONFLICT",
    "INSERT INTO tally VALUES ('a', 1) -- ON CONFLICT": "needs ON CONFLICT",
    "INSERT OR REPLACE INTO tally VALUES ('a', 1)": "needs ON CONFLICT",
    "REPLACE INTO tally VALUES ('a', 1)": "needs ON CONFLICT",
    "WITH one AS (SELECT 'a', 1) REPLACE INTO tally SELECT * FROM one": "needs ON CONFLICT",
    "UPDATE stock SET quantity = 0": "not one of its tables",
    "DELETE FROM projection_checkpoints": "not one of its tables",
    "DROP TABLE tally": "may only SELECT, INSERT, UPDATE and DELETE",
    "CREATE TABLE more (a INTEGER)": "may only SELECT, INSERT, UPDATE and DELETE",
    "COMMIT": "may only SELECT, INSERT, UPDATE and DELETE",
    "UPDATE tally SET total = random()": "another answer the next time",
    "UPDATE tally SET total = unixepoch('NOW')": "another answer the next time",
    "UPDATE tally SET total = CAST(julianday( ) AS INTEGER)": "another answer the next time",
    "DELETE FROM tally; DELETE FROM tally": "One statement at a time",
    "UPDATE tally SET nothing = 1": "nothing",
}

READ_ELSEWHERE = (
    "SELECT quantity FROM stock",
    "SELECT count(*) FROM stock",
    "SELECT count(*) FROM tally, stock",
    "SELECT name FROM tally WHERE EXISTS (SELECT 1 FROM stock)",
    "WITH s AS (SELECT * FROM stock) SELECT count(*) FROM s",
    "SELECT count(*) FROM projection_checkpoints",
)


class ViewScriptsContract(ViewStoreContract):
    """Hand-written SQL."""

    async def test_a_script_commits_with_its_checkpoint(self, views: ViewStore) -> None:
        """P1: run again from the same position it changes nothing."""

        async def script(db: Db) -> None:
            await db.execute(_ADD, name="a", by=2)
            await db.execute(_ADD, name="a", by=3)
            assert await db.rows("SELECT total FROM tally WHERE name = :name", name="a") == [(5,)]

        await views.commit(batch(TALLIES, script=script))
        with pytest.raises(CheckpointMovedError):
            await views.commit(batch(TALLIES, script=script))
        assert await _total(views) == 5

    async def test_a_script_that_fails_undoes_its_batch(self, views: ViewStore) -> None:
        """P2: neither rows nor checkpoint of it remain."""

        async def script(db: Db) -> None:
            await db.execute(_ADD, name="a", by=2)
            raise ValueError("the handler failed")

        with pytest.raises(ValueError, match="the handler failed"):
            await views.commit(batch(TALLIES, script=script))
        assert await _total(views) is None
        assert (await views.checkpoint("tallies")).position == 0

    @pytest.mark.parametrize(("sql", "why"), REFUSED.items())
    async def test_a_script_reaches_its_own_rows_alone(self, views: ViewStore, sql: str, why: str) -> None:
        await views.commit(batch(SHOP, RowChanges(STOCK, [Stock(shop="s", product=1, quantity=7)])))

        async def script(db: Db) -> None:
            await db.execute(sql)

        with pytest.raises(ProgrammingError, match=why):
            await views.commit(batch(TALLIES, script=script))
        assert (await views.checkpoint("shop")).position == 1
        assert (await views.load(GENERATION["shop"], [Load(STOCK, ("product",), [(1,)])]))["stock"][0].quantity == 7

    @pytest.mark.parametrize("sql", READ_ELSEWHERE)
    async def test_a_script_reads_its_own_rows_alone(self, views: ViewStore, sql: str) -> None:
        """Rows follow from events alone: also how many rows another projection has is not its business."""
        await views.commit(batch(SHOP, RowChanges(STOCK, [Stock(shop="s", product=1, quantity=7)])))

        async def script(db: Db) -> None:
            await db.rows(sql)

        with pytest.raises(ProgrammingError, match="not one of its tables"):
            await views.commit(batch(TALLIES, script=script))
        assert (await views.checkpoint("tallies")).position == 0

    async def test_a_script_reads_what_its_statement_makes_itself(self, views: ViewStore) -> None:
        async def script(db: Db) -> None:
            await db.execute(_ADD, name="a", by=2)
            for sql in (
                "SELECT count(*) FROM tally",
                "SELECT count(*) FROM (SELECT name FROM tally) t",
                "WITH t AS MATERIALIZED (SELECT total FROM tally) SELECT count(*) FROM t",
                "WITH RECURSIVE n AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM n WHERE a < 1) SELECT count(*) FROM n",
            ):
                assert await db.rows(sql) == [(1,)], sql

        await views.commit(batch(TALLIES, script=script))

    async def test_a_script_may_wait_for_nothing_else(self, views: ViewStore) -> None:
        async def script(db: Db) -> None:
            await db.execute(_ADD, name="a", by=2)
            await asyncio.sleep(0)

        with pytest.raises(ProgrammingError, match="may await nothing but its db"):
            await views.commit(batch(TALLIES, script=script))
        assert await _total(views) is None

    async def test_a_db_is_of_no_use_after_its_batch(self, views: ViewStore) -> None:
        kept: list[Db] = []

        async def script(db: Db) -> None:
            kept.append(db)

        await views.commit(batch(TALLIES, script=script))
        with pytest.raises(ProgrammingError, match="only valid inside handle"):
            await kept[0].execute("DELETE FROM tally")

    async def test_a_script_binds_values_as_columns_keep_them(self, views: ViewStore) -> None:
        async def script(db: Db) -> None:
            await db.execute(_ADD, name=str(id_of(1)), by=4)
            assert await db.rows("SELECT total FROM tally WHERE name = :id", id=id_of(1)) == [(4,)]
            assert await db.rows("WITH t AS (SELECT total FROM tally) SELECT count(*) FROM t") == [(1,)]

        await views.commit(batch(TALLIES, script=script))


async def _total(views: ViewStore) -> int | None:
    rows = (await views.load(GENERATION["tallies"], [Load(TALLY, ("name",), [("a",)])]))["tally"]
    assert all(isinstance(row, Tally) for row in rows)
    return rows[0].total if rows else None
