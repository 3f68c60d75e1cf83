"""What every view store keeps: rows, always with their checkpoint.

Rule: subclass it and give `storage`; a store that passes keeps P1 and P2.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from diptych.errors import (
    CheckpointMovedError,
    ConfigurationError,
    OtherHistoryError,
    StoreUnavailableError,
    ValueDoesNotFitError,
)
from diptych.store.batches import Checkpoint, LaneMove, Load, ParkedEvent, ProjectionTables, RowChanges, ViewBatch
from diptych.store.protocols import ViewStore
from diptych.store.tables import Table
from diptych.testing.contracts.view_rows import (
    GENERATION,
    KINDS,
    SHOP,
    STOCK,
    STORE,
    TALLIES,
    TALLY,
    Stock,
    Tally,
    batch,
    every_kind,
    id_of,
)


class ViewStoreContract:
    """Rows and checkpoints. `storage` returns a store that is not open, over the same data at each call."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Stores live on asyncio."""
        return "asyncio"

    @pytest.fixture
    def storage(self) -> Callable[[], ViewStore]:
        """A maker of stores; override it."""
        raise NotImplementedError

    @pytest.fixture
    async def views(self, storage: Callable[[], ViewStore]) -> AsyncIterator[ViewStore]:
        """An open store with two projections."""
        store = storage()
        await store.open([SHOP, TALLIES], store_id=STORE)
        yield store
        await store.close()

    async def test_a_projection_begins_at_the_beginning(self, views: ViewStore) -> None:
        assert await views.checkpoint("shop") == Checkpoint()

    async def test_rows_and_checkpoint_are_written_together(self, views: ViewStore) -> None:
        """P2: after a commit both are there."""
        await views.commit(batch(SHOP, RowChanges(KINDS, [every_kind(1)]), to=7))
        assert await views.checkpoint("shop") == Checkpoint(7, 0, b"e7", 7000)
        assert await _by_key(views, KINDS, id_of(1)) == [every_kind(1)]

    async def test_a_commit_from_another_position_is_refused_and_writes_nothing(self, views: ViewStore) -> None:
        """P1: of two workers at one position only the first takes effect."""
        await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)]), to=5))
        with pytest.raises(CheckpointMovedError) as caught:
            await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=2)]), to=6))
        assert (caught.value.expected, caught.value.actual) == (0, 5)
        assert await _by_key(views, TALLY, "a") == [Tally(name="a", total=1)]
        assert (await views.checkpoint("tallies")).position == 5

    async def test_a_commit_under_another_epoch_is_refused(self, views: ViewStore) -> None:
        """P5: only one epoch's writes can commit."""
        changes = [RowChanges(TALLY, [Tally(name="a", total=1)])]
        with pytest.raises(CheckpointMovedError):
            await views.commit(ViewBatch("tallies", GENERATION["tallies"], [LaneMove(0, 3, 0)], 1, changes=changes))
        assert await _by_key(views, TALLY, "a") == []

    async def test_a_row_is_replaced_by_its_key_and_gone_when_deleted(self, views: ViewStore) -> None:
        await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name=n, total=1) for n in "abc"])))
        changes = RowChanges(TALLY, [Tally(name="a", total=2)], [("b",)])
        await views.commit(batch(TALLIES, changes, at=1, to=2))
        found = await views.load(GENERATION["tallies"], [Load(TALLY, ("name",), [("a",), ("b",), ("c",)])])
        assert sorted(found["tally"], key=lambda row: str(row.name)) == [
            Tally(name="a", total=2),
            Tally(name="c", total=1),
        ]

    async def test_every_kind_of_value_comes_back_equal(self, views: ViewStore) -> None:
        rows = [every_kind(n) for n in range(40)]
        rows.append(every_kind(41, note="", other=id_of(1), paid=rows[1].amount, parts=[], name="a\nb\\u0000"))
        await views.commit(batch(SHOP, RowChanges(KINDS, rows)))
        found = await views.load(GENERATION["shop"], [Load(KINDS, ("id",), [(row.id,) for row in rows])])
        assert {row.id: row for row in found["every_kind"]} == {row.id: row for row in rows}
        assert {row.id: repr(row.replace()) for row in found["every_kind"]}.keys() == {row.id for row in rows}

    async def test_many_rows_are_loaded_each_once(self, views: ViewStore) -> None:
        rows = [Stock(shop=f"s{n % 7}", product=n, quantity=n % 5) for n in range(1300)]
        await views.commit(batch(SHOP, RowChanges(STOCK, rows)))
        keys = [(row.shop, row.product) for row in rows]
        loads = [Load(STOCK, ("shop", "product"), keys + keys), Load(STOCK, ("quantity",), [(1,), (2,)])]
        found = await views.load(GENERATION["shop"], loads)
        assert sorted(found["stock"], key=lambda row: int(row.product)) == rows
        assert len((await views.load(GENERATION["shop"], [loads[1]]))["stock"]) == 520
        assert await views.load(GENERATION["shop"], [Load(STOCK, ("quantity",), [(99,)])]) == {"stock": []}

    async def test_rows_of_several_tables_are_loaded_at_once(self, views: ViewStore) -> None:
        stock = Stock(shop="s", product=1, quantity=2)
        await views.commit(batch(SHOP, RowChanges(KINDS, [every_kind(1)]), RowChanges(STOCK, [stock])))
        found = await views.load(
            GENERATION["shop"], [Load(KINDS, ("id",), [(id_of(1),)]), Load(STOCK, ("product",), [(1,)])]
        )
        assert {name: list(rows) for name, rows in found.items()} == {"every_kind": [every_kind(1)], "stock": [stock]}

    async def test_a_closed_store_refuses(self, views: ViewStore) -> None:
        await views.close()
        with pytest.raises(StoreUnavailableError):
            await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)])))
        with pytest.raises(StoreUnavailableError):
            await views.checkpoint("tallies")
        with pytest.raises(StoreUnavailableError):
            async with views.reader() as session:
                await session.get(TALLY, ("a",))

    async def test_a_value_that_does_not_fit_refuses_the_batch(self, views: ViewStore) -> None:
        good, bad = Tally(name="good", total=1), Tally(name="nul\0", total=1)
        for row in (bad, Tally(name="big", total=2**63), Tally(name="half \ud800", total=1)):
            with pytest.raises(ValueDoesNotFitError):
                await views.commit(batch(TALLIES, RowChanges(TALLY, [good, row])))
        assert await _by_key(views, TALLY, "good") == []
        assert (await views.checkpoint("tallies")).position == 0

    async def test_parked_events_are_kept_until_unparked(self, views: ViewStore) -> None:
        """P7: what is put aside is written with the checkpoint that passed it."""
        first, second = ParkedEvent("k1", 3, "boom"), ParkedEvent("k1", 4)
        await views.commit(batch(SHOP, parked=[first, second], to=4))
        assert list(await views.parked("shop")) == [first, second]
        assert list(await views.parked("tallies")) == []
        await views.commit(batch(SHOP, unparked=["k1"], at=4, to=5))
        assert list(await views.parked("shop")) == []

    async def test_what_is_parked_behind_a_released_key_is_refused(self, views: ViewStore) -> None:
        """P1, P7: two that release one key apply its events once, and none waits behind what is released."""
        await views.commit(batch(SHOP, parked=[ParkedEvent("k1", 3, "boom")], to=3))
        row = RowChanges(STOCK, [Stock(shop="s", product=1, quantity=2)])
        await views.commit(batch(SHOP, parked=[ParkedEvent("k1", 4)], at=3, to=4))
        await views.commit(batch(SHOP, unparked=["k1"], at=4, to=5))
        for more in ({"unparked": ["k1"]}, {"parked": [ParkedEvent("k1", 6)]}):
            with pytest.raises(CheckpointMovedError):
                await views.commit(batch(SHOP, row, at=5, to=6, **more))
        assert (await views.checkpoint("shop")).position == 5
        assert list(await views.parked("shop")) == []
        assert await _by_key(views, STOCK, "s", 1) == []
        await views.commit(batch(SHOP, row, parked=[ParkedEvent("k1", 6, "again")], at=5, to=6))

    async def test_rows_outlive_the_process(self, storage: Callable[[], ViewStore]) -> None:
        await _filled(storage())
        store = storage()
        await store.open([TALLIES], store_id=STORE)
        assert (await store.checkpoint("tallies")).position == 4
        assert await _by_key(store, TALLY, "a") == [Tally(name="a", total=1)]
        await store.close()

    async def test_rows_of_another_event_store_are_refused(self, storage: Callable[[], ViewStore]) -> None:
        await _filled(storage())
        store = storage()
        with pytest.raises(OtherHistoryError, match="built again"):
            await store.open([TALLIES], store_id=id_of(99))
        await store.close()

    async def test_a_table_has_one_projection(self, storage: Callable[[], ViewStore]) -> None:
        store = storage()
        with pytest.raises(ConfigurationError, match="tally is tallies's"):
            await store.open([TALLIES, ProjectionTables("second", (TALLY,))], store_id=STORE)
        await store.close()

    async def test_a_projection_under_a_new_name_takes_its_table_over(self, storage: Callable[[], ViewStore]) -> None:
        await _filled(storage())
        store = storage()
        await store.open([ProjectionTables("renamed", (TALLY,))], store_id=STORE)
        assert await store.checkpoint("renamed") == Checkpoint()
        async with store.reader() as session:
            assert await session.get(TALLY, ("a",)) is None
        await store.close()


async def _filled(store: ViewStore) -> None:
    await store.open([SHOP, TALLIES], store_id=STORE)
    await store.commit(batch(SHOP, to=2))
    await store.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)]), to=4))
    await store.close()


async def _by_key(store: ViewStore, table: Table, *key: Any) -> list[Any]:
    number = GENERATION["tallies" if table is TALLY else "shop"]
    return list((await store.load(number, [Load(table, table.key, [key])]))[table.name])
