"""What every view store lets the read side do: read one snapshot, and nothing else.

Rule: R4 is shown by trying.
"""

import asyncio
from decimal import Decimal

import pytest

from diptych.errors import AccessDeniedError, DiptychError, ProgrammingError
from diptych.store.batches import Checkpoint, Freshness, ParkedEvent, RowChanges
from diptych.store.protocols import SnapshotIsGone, ViewStore
from diptych.store.tables import Bound
from diptych.testing.contracts.view_rows import (
    KINDS,
    SHOP,
    STOCK,
    TALLIES,
    TALLY,
    Stock,
    Tally,
    batch,
    every_kind,
    id_of,
)
from diptych.testing.contracts.views import ViewStoreContract

FORBIDDEN = (
    "INSERT INTO tally VALUES ('x', 1)",
    "UPDATE tally SET total = 0",
    "DELETE FROM tally",
    "WITH gone AS (SELECT 1) DELETE FROM tally",
    "DROP TABLE tally",
    "CREATE TABLE mine (a INTEGER)",
    "COMMIT",
)


class ViewReadsContract(ViewStoreContract):
    """Sessions of the read side."""

    async def test_a_row_is_got_by_its_key(self, views: ViewStore) -> None:
        await views.commit(batch(SHOP, RowChanges(KINDS, [every_kind(1)]), RowChanges(STOCK, [_stock(1)])))
        async with views.reader() as session:
            assert await session.get(KINDS, (id_of(1),)) == every_kind(1)
            assert await session.get(KINDS, (id_of(2),)) is None
            assert await session.get(STOCK, ("s", 1)) == _stock(1)

    async def test_a_session_is_one_snapshot(self, views: ViewStore) -> None:
        """R2: rows and their freshness are of one moment, whatever is written meanwhile."""
        await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)])))
        async with views.reader() as session:
            assert (await session.freshness("tallies")).checkpoint.position == 1
            await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=2)]), at=1, to=2))
            assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)
            assert await session.fetch("SELECT total FROM tally", {}) == [(1,)]
            assert (await session.freshness("tallies")).checkpoint.position == 1
        async with views.reader() as session:
            assert await session.get(TALLY, ("a",)) == Tally(name="a", total=2)

    async def test_a_session_for_one_row_knows_how_fresh_it_is(self, views: ViewStore) -> None:
        """R2: also when it was written again before that is asked."""
        await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)])))
        for name, found in (("a", Tally(name="a", total=1)), ("b", None)):
            async with views.reader(is_for_one=True) as session:
                assert await session.get(TALLY, (name,)) == found
                before = await session.freshness("tallies")
                position = before.checkpoint.position
                change = RowChanges(TALLY, [Tally(name="c", total=2)])
                await views.commit(batch(TALLIES, change, at=position, to=position + 1))
                assert await session.freshness("tallies") == before
        async with views.reader(is_for_one=True) as session:
            assert await session.get(STOCK, ("s", 1)) is None
            assert await session.freshness("shop") == Freshness(Checkpoint(), generation=1)
            assert (await session.freshness("tallies")).checkpoint.position == 3

    @pytest.mark.parametrize("is_told", [False, True])
    @pytest.mark.parametrize("changed", ["a", "b", "c"])
    async def test_a_session_for_one_row_that_reads_more_is_of_one_snapshot(
        self, views: ViewStore, changed: str, is_told: bool
    ) -> None:
        """R2: what is read first and what is read next are of one moment, or nothing more is read."""
        await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name=name, total=1) for name in ("a", "b")])))
        async with views.reader(is_for_one=True) as session:
            first = await session.get(TALLY, ("a",))
            position = (await session.freshness("tallies")).checkpoint.position if is_told else None
            rows = [Tally(name=changed, total=2)]
            await views.commit(batch(TALLIES, RowChanges(TALLY, rows), at=1, to=2))
            try:
                seen = [first, *[await session.get(TALLY, (name,)) for name in ("b", "c")]]
                fresh = (await session.freshness("tallies")).checkpoint.position
            except SnapshotIsGone:
                assert changed == "a" or is_told
                return
        old = [Tally(name="a", total=1), Tally(name="b", total=1), None]
        new = [rows[0] if each == changed else was for each, was in zip(("a", "b", "c"), old, strict=True)]
        assert (seen, fresh) in ((old, 1), (new, 2))
        assert position in (None, fresh)

    async def test_a_session_sees_what_was_committed_once_the_store_says_so(self, views: ViewStore) -> None:
        """R1: at once where sessions read no copy, and in a moment where they do."""
        assert views.reads_a_copy or await views.is_copied(0.0)
        for total in range(1, 6):
            change = RowChanges(TALLY, [Tally(name="a", total=total)])
            await views.commit(batch(TALLIES, change, at=total - 1, to=total))
            assert await views.is_copied(10.0)
            async with views.reader() as session:
                assert await session.get(TALLY, ("a",)) == Tally(name="a", total=total)

    async def test_freshness_counts_what_is_parked(self, views: ViewStore) -> None:
        await views.commit(batch(SHOP, parked=[ParkedEvent("k", 2, "boom"), ParkedEvent("k", 3)], to=3))
        async with views.reader() as session:
            assert await session.freshness("shop") == Freshness(Checkpoint(3, 0, b"e3", 3000), 2, 1)
            assert await session.freshness("tallies") == Freshness(Checkpoint(), generation=2)
            with pytest.raises(ProgrammingError, match="nothing"):
                await session.freshness("nothing")

    async def test_fetched_rows_are_built_by_their_table(self, views: ViewStore) -> None:
        rows = [every_kind(n) for n in range(5)]
        await views.commit(batch(SHOP, RowChanges(KINDS, rows)))
        columns = ", ".join(f'"{column.name}"' for column in KINDS.columns)
        sql = f'SELECT {columns} FROM "every_kind" WHERE "amount" >= :least ORDER BY "count"'  # noqa: S608
        async with views.reader() as session:
            found = await session.fetch(sql, {"least": Bound(KINDS.column("amount"), Decimal("0.75"))})
            assert session.decode(KINDS, found) == rows[3:]

    async def test_selected_values_have_the_meaning_of_their_columns(self, views: ViewStore) -> None:
        await views.commit(batch(SHOP, RowChanges(KINDS, [every_kind(n) for n in (1, 2, 3)])))
        sql = "SELECT sum(amount) AS amount, max(at) AS at, count(*) AS n FROM every_kind WHERE id <> :id"
        sql += " AND amount < :amount"
        async with views.reader() as session:
            for _ in range(2):
                selected = await session.select(sql, {"id": id_of(1), "amount": Decimal("5.25")})
                assert selected.names == ("amount", "at", "n")
                assert selected.rows == [(Decimal("1.25"), every_kind(3).at, 2)]
                assert selected.tables == {"every_kind"}

    @pytest.mark.parametrize("sql", FORBIDDEN)
    async def test_nothing_but_reading_is_possible(self, views: ViewStore, sql: str) -> None:
        """R4: no write from the read side."""
        await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)])))
        async with views.reader() as session:
            with pytest.raises(AccessDeniedError, match="may only SELECT"):
                await session.fetch(sql, {})
            assert await session.fetch("SELECT name, total FROM tally", {}) == [("a", 1)]

    async def test_two_statements_in_one_are_refused(self, views: ViewStore) -> None:
        async with views.reader() as session:
            with pytest.raises(DiptychError):
                await session.fetch("SELECT 1; DELETE FROM tally", {})

    async def test_a_parameter_without_a_value_is_an_error(self, views: ViewStore) -> None:
        async with views.reader() as session:
            with pytest.raises(ProgrammingError, match=":absent has no value"):
                await session.fetch("SELECT name FROM tally WHERE name = :absent", {"present": 1})

    async def test_reads_of_one_session_may_be_gathered(self, views: ViewStore) -> None:
        await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)])))
        async with views.reader() as session:
            found = await asyncio.gather(
                *[session.fetch("SELECT total FROM tally", {}) for _ in range(5)],
                *[session.get(TALLY, ("a",)) for _ in range(5)],
            )
        assert found == [[(1,)]] * 5 + [Tally(name="a", total=1)] * 5

    async def test_a_session_that_ended_is_not_used_again(self, views: ViewStore) -> None:
        async with views.reader() as session:
            pass
        with pytest.raises(ProgrammingError, match="has ended"):
            await session.get(TALLY, ("a",))

    async def test_many_sessions_share_few_connections(self, views: ViewStore) -> None:
        await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)])))

        async def read() -> int:
            async with views.reader() as session:
                await session.get(TALLY, ("a",))
                await asyncio.sleep(0)
                return int((await session.fetch("SELECT total FROM tally", {}))[0][0])

        assert await asyncio.gather(*[read() for _ in range(60)]) == [1] * 60


def _stock(product: int) -> Stock:
    return Stock(shop="s", product=product, quantity=1)
