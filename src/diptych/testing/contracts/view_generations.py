"""What every view store does with the builds of a projection: begun beside the live one, compared, swapped, dropped.

Rule: who reads sees the live generation whole, before a swap and after it, and nothing in between.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from diptych.errors import CheckpointMovedError, ProgrammingError, SwapRefusedError
from diptych.store.batches import LaneMove, Load, ProjectionTables, RowChanges, ViewBatch
from diptych.store.generations import Generation
from diptych.store.protocols import ReadSession, ViewStore
from diptych.store.tables import Table
from diptych.testing.contracts.view_rows import SHOP, STORE, TALLIES, TALLY, Tally, batch
from diptych.testing.contracts.views import ViewStoreContract

NEWER = TALLIES._replace(version=2)
WIDER = ProjectionTables("tallies", (Table(TALLY.name, TALLY.columns, TALLY.key, (("total",),), TALLY.build),))
LANES = ProjectionTables("tallies", (TALLY,), lanes=16)


def rows(*totals: int) -> RowChanges:
    """Return changes that write the rows a, b, c ... with these totals."""
    return RowChanges(TALLY, [Tally(name="abcdefgh"[n], total=total) for n, total in enumerate(totals)])


def to(built: Generation, position: int, *changes: RowChanges, after: int = 0) -> ViewBatch:
    """Return a batch that moves all lanes of a generation."""
    moves = [LaneMove(lane, 0, after) for lane in range(built.lanes)]
    return ViewBatch(built.projection, built.number, moves, position, b"e%d" % position, position * 1000, changes)


class ViewGenerationsContract(ViewStoreContract):
    """Generations."""

    async def test_the_first_generation_is_live(self, views: ViewStore) -> None:
        shop, tallies = await views.generations.all()
        assert (shop.projection, shop.number, shop.state, shop.tables) == ("shop", 1, "live", ("every_kind", "stock"))
        assert tallies.fits(TALLIES)
        assert not tallies.fits(NEWER)
        assert await views.generations.all("tallies") == [tallies]

    @pytest.mark.parametrize("changed", [NEWER, WIDER, LANES], ids=["version", "shape", "lanes"])
    async def test_a_projection_that_changed_keeps_what_it_has(
        self, storage: Callable[[], ViewStore], changed: ProjectionTables
    ) -> None:
        """Until another generation is built: opening drops and empties nothing."""
        await _filled(storage())
        store = storage()
        await store.open([SHOP, changed], store_id=STORE)
        (live,) = await store.generations.all("tallies")
        assert (live.number, live.state, live.fits(changed)) == (2, "live", False)
        assert (await store.checkpoint("tallies")).position == 4
        async with store.reader() as session:
            assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)
        await store.close()

    async def test_a_generation_is_built_beside_the_live_one(self, views: ViewStore) -> None:
        await views.commit(batch(TALLIES, rows(1), to=4))
        built = await views.generations.begin(NEWER)
        assert (built.state, built.is_indexed, built.lanes) == ("building", TALLY.indexes == (), 1)
        await views.commit(to(built, 3, rows(9, 9)))
        assert [place.position for place in await views.places("tallies", built.number)] == [3]
        assert (await views.checkpoint("tallies")).position == 4
        found = await views.load(built.number, [Load(TALLY, ("name",), [("a",), ("b",)])])
        assert sorted(row.total for row in found["tally"]) == [9, 9]
        async with views.reader() as session:
            assert await totals(session) == [1]
            assert (await session.freshness("tallies")).generation == 2

    async def test_a_build_goes_on_where_it_was_and_another_takes_its_place(self, views: ViewStore) -> None:
        built = await views.generations.begin(NEWER)
        await views.commit(to(built, 3, rows(1)))
        assert await views.generations.begin(NEWER) == built
        other = await views.generations.begin(NEWER._replace(code="other"))
        assert other.number > built.number
        assert [one.number for one in await views.generations.all("tallies")] == [2, other.number]
        with pytest.raises(CheckpointMovedError):
            await views.commit(to(built, 5, rows(1), after=3))

    async def test_indexes_that_a_build_left_out_are_made_once(self, views: ViewStore) -> None:
        """Making each while rows come costs more than making it afterwards."""
        built = await views.generations.begin(WIDER)
        assert not built.is_indexed
        for _ in range(2):
            await views.generations.index("tallies", built.number)
            assert [one.is_indexed for one in await views.generations.all("tallies")] == [True, True]

    async def test_a_swap_changes_what_is_read_at_once(self, views: ViewStore) -> None:
        """Also by plain SQL, and with statements that were run before."""
        await views.commit(batch(TALLIES, rows(1), to=4))
        built = await views.generations.begin(NEWER)
        await views.commit(to(built, 4, rows(2, 3)))
        await views.generations.index("tallies", built.number)
        async with views.reader() as before:
            assert await totals(before) == [1]
            await views.generations.swap("tallies", built.number)
            assert await totals(before) == [1]  # its snapshot is its own
            assert await before.get(TALLY, ("b",)) is None
        async with views.reader() as after:
            assert await totals(after) == [2, 3]
            assert await after.get(TALLY, ("b",)) == Tally(name="b", total=3)
            freshness = await after.freshness("tallies")
            assert (freshness.generation, freshness.checkpoint.position) == (built.number, 4)
        kept, live = await views.generations.all("tallies")
        assert [(kept.number, kept.state), (live.number, live.state)] == [(2, "kept"), (built.number, "live")]
        assert kept.since == live.since >= built.since  # the one came into its state when the other did

    async def test_who_read_before_a_swap_reads_the_new_rows_after_it(self, views: ViewStore) -> None:
        """Connections, cached statements and what is known of names outlive many swaps."""
        await views.commit(batch(TALLIES, rows(0), to=1))
        for round_ in range(1, 6):
            async with views.reader() as session:
                assert await totals(session) == [round_ - 1]
            built = await views.generations.begin(TALLIES._replace(version=round_ + 1))
            await views.commit(to(built, 1, rows(round_)))
            await views.generations.swap("tallies", built.number)
            async with views.reader() as session:
                assert await session.get(TALLY, ("a",)) == Tally(name="a", total=round_)
                assert (await session.freshness("tallies")).generation == built.number

    async def test_a_generation_that_is_behind_is_not_swapped_in(self, views: ViewStore) -> None:
        """R2: nobody's reads go back in time because of a rebuild."""
        await views.commit(batch(TALLIES, rows(1), to=4))
        built = await views.generations.begin(NEWER)
        await views.commit(to(built, 3, rows(1)))
        with pytest.raises(SwapRefusedError, match="position 3, behind the live one's 4"):
            await views.generations.swap("tallies", built.number)
        with pytest.raises(SwapRefusedError, match="no such generation"):
            await views.generations.swap("tallies", 99)
        async with views.reader() as session:
            assert await totals(session) == [1]

    async def test_a_kept_generation_is_swapped_back_at_any_position(self, views: ViewStore) -> None:
        built = await views.generations.begin(NEWER)
        await views.commit(to(built, 7, rows(5)))
        await views.generations.swap("tallies", built.number)
        await views.generations.swap("tallies", 2)
        async with views.reader() as session:
            assert await totals(session) == []
            assert (await session.freshness("tallies")).generation == 2
        await views.generations.swap("tallies", built.number)
        async with views.reader() as session:
            assert await totals(session) == [5]

    async def test_a_generation_is_dropped_unless_it_is_live(self, views: ViewStore) -> None:
        built = await views.generations.begin(NEWER)
        await views.generations.swap("tallies", built.number)
        with pytest.raises(SwapRefusedError, match="the one that is read"):
            await views.generations.drop("tallies", built.number)
        await views.generations.drop("tallies", 2)
        assert [one.number for one in await views.generations.all("tallies")] == [built.number]
        with pytest.raises(CheckpointMovedError):
            await views.commit(batch(TALLIES, rows(1)))
        async with views.reader() as session:
            assert await totals(session) == []

    async def test_what_was_swapped_is_there_after_a_restart(self, storage: Callable[[], ViewStore]) -> None:
        first = storage()
        await first.open([SHOP, TALLIES], store_id=STORE)
        built = await first.generations.begin(NEWER)
        await first.commit(to(built, 7, rows(5)))
        await first.generations.index("tallies", built.number)
        await first.generations.swap("tallies", built.number)
        await first.close()
        store = storage()
        await store.open([SHOP, NEWER], store_id=STORE)
        live = [one for one in await store.generations.all("tallies") if one.state == "live"]
        assert [(one.number, one.fits(NEWER), one.is_indexed) for one in live] == [(built.number, True, True)]
        assert (await store.checkpoint("tallies")).position == 7
        await store.close()

    async def test_code_is_accepted(self, views: ViewStore) -> None:
        await views.generations.accept("tallies", 2, "hash")
        (live,) = await views.generations.all("tallies")
        assert live.code == "hash"
        with pytest.raises(SwapRefusedError, match="there is no such generation"):
            await views.generations.accept("tallies", 99, "hash")

    async def test_a_generation_has_a_size_on_disk(self, views: ViewStore) -> None:
        many = [Tally(name="x" * 900 + str(number), total=number) for number in range(99)]
        await views.commit(batch(TALLIES, RowChanges(TALLY, many)))
        assert 90_000 < await views.generations.size("tallies", 2) < 900_000

    async def test_a_table_of_a_generation_has_no_name_for_users(self, views: ViewStore) -> None:
        async with views.reader() as session:
            with pytest.raises(ProgrammingError, match="say tally"):
                await session.fetch("SELECT * FROM tally__g2", {})

    async def test_names_mean_tables_only_where_tables_are_meant(self, views: ViewStore) -> None:
        """Columns, aliases and texts that are named as a table is stay what they are."""
        await views.commit(batch(TALLIES, rows(4), to=1))
        async with views.reader() as session:
            for sql in (
                "SELECT total AS tally FROM tally",
                'SELECT "tally".total FROM tally',
                "SELECT tally.total FROM tally WHERE 'tally' <> tally.name",
                "WITH other AS (SELECT total FROM tally) SELECT total FROM other -- tally",
                "WITH RECURSIVE n AS (SELECT 4 AS a) SELECT a FROM n, tally WHERE tally.total = a",
                "SELECT t.total FROM TALLY t LEFT JOIN stock tally ON tally.product = 0",
            ):
                assert [tuple(row) for row in await session.fetch(sql, {})] == [(4,)], sql
            assert (await session.select("SELECT total FROM tally", {})).tables == {"tally"}

    async def test_lanes_move_together_or_not_at_all(self, storage: Callable[[], ViewStore]) -> None:
        """P5: one lane that somebody else has moved refuses the whole batch."""
        store = storage()
        await store.open([LANES], store_id=STORE)
        (live,) = await store.generations.all("tallies")
        await store.commit(to(live, 3, rows(1)))
        assert [place.position for place in await store.places("tallies")] == [3] * 16
        await store.commit(ViewBatch("tallies", live.number, [LaneMove(5, 0, 3)], 8, b"e8"))
        assert (await store.checkpoint("tallies")).position == 3
        with pytest.raises(CheckpointMovedError) as caught:
            await store.commit(to(live, 9, rows(7), after=3))
        assert (caught.value.lane, caught.value.expected, caught.value.actual) == (5, 3, 8)
        async with store.reader() as session:
            assert await totals(session) == [1]
            assert (await session.freshness("tallies")).checkpoint.position == 3
        await store.close()

    async def test_tables_of_two_projections_keep_apart(self, views: ViewStore) -> None:
        built = await views.generations.begin(SHOP._replace(version=2))
        assert built.tables == ("every_kind", "stock")
        await views.generations.swap("shop", built.number)
        async with views.reader() as session:
            assert await session.fetch("SELECT * FROM stock", {}) == []
            assert (await session.freshness("tallies")).generation == 2


async def _filled(store: ViewStore) -> None:
    await store.open([SHOP, TALLIES], store_id=STORE)
    await store.commit(batch(TALLIES, rows(1), to=4))
    await store.close()


async def totals(session: ReadSession) -> Sequence[Any]:
    """Return all totals that a session reads by hand-written SQL."""
    return [total for (total,) in await session.fetch("SELECT total FROM tally ORDER BY name", {})]
