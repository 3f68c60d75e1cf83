"""The engine end to end: events become rows, once, over restarts, in both modes and on every store."""

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from diptych.errors import ProjectionError, StaleReadError, StoreFullError, StoreUnavailableError
from diptych.projections.site import Rules
from diptych.store.batches import LaneMove, ViewBatch
from diptych.store.postgres.connection import database_of
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreSettings
from diptych.subscriptions.reading import Pace
from tests.projections import shop
from tests.projections.naive import naive_orders, naive_sales
from tests.projections.running import Running, by_key, running
from tests.projections.shop import Erased, Fact, Registered, Renamed
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What outlives the process."""
    return url_for(request, tmp_path)


def some_facts(count: int, seed: int = 1) -> list[Fact]:
    """A reproducible life of the shop."""
    random, facts = Random(seed), list[Fact]()
    facts += [(shop.customer(name), Registered(name=name)) for name in "abc"]
    for number in range(count):
        one = shop.order(f"{seed}-{number}")
        facts.append((one, shop.placed(random.choice("abcd"))))
        facts += [
            (one, shop.added(random.choice(["pen", "ink"]), random.randint(1, 5))) for _ in range(random.randint(0, 3))
        ]
        if random.random() < 0.2:
            facts.append((shop.customer(random.choice("abc")), Renamed(name=f"{number}")))
        if random.random() < 0.1:
            facts.append((one, Erased()))
    return facts


def without_times(rows: dict[Any, Any]) -> dict[Any, Any]:
    """Leave out when orders were placed: the store's clock says that, not the test."""
    return {key: row.model_dump(exclude={"placed_at"}) for key, row in rows.items()}


async def test_rows_follow_the_log(url: str) -> None:
    """P1: several projections, look-ups and many-row changes, checked against the naive fold."""
    facts = some_facts(150)
    async with running(url, shop.Orders, shop.Sales, shop.Baskets) as shop_:
        for start in range(0, len(facts), 60):
            await shop_.append(facts[start : start + 60])
        await shop_.engine.caught_up()
        expected = naive_orders(facts)
        assert without_times(await shop_.rows(shop.Order)) == without_times(by_key(expected["order"]))
        assert await shop_.rows(shop.CustomerName) == by_key(expected["customer_name"])
        assert await shop_.rows(shop.ProductSales) == by_key(naive_sales(facts)["product_sales"])
        assert set(await shop_.rows(shop.Basket)) == set(by_key(expected["order"]))


async def test_a_restart_goes_on_where_the_checkpoint_is(file: str) -> None:
    """P1, P2."""
    facts = some_facts(80)
    for start in range(0, len(facts), 50):
        async with running(file, shop.Orders, shop.Sales) as shop_:
            await shop_.append(facts[start : start + 50])
            if start % 100 == 0:
                await shop_.engine.caught_up()
    async with running(file, shop.Orders, shop.Sales) as shop_:
        await shop_.engine.caught_up()
        assert await shop_.rows(shop.ProductSales) == by_key(naive_sales(facts)["product_sales"])
        assert without_times(await shop_.rows(shop.Order)) == without_times(by_key(naive_orders(facts)["order"]))
        checkpoint = await shop_.views.checkpoint("sales")
        head = await shop_.events.head()
        assert (checkpoint.position, checkpoint.event_id) == (head.position, head.event_id)


async def test_deleted_views_are_built_again(file: str, tmp_path: Path) -> None:
    facts = some_facts(40)
    async with running(file, shop.Sales) as shop_:
        await shop_.append(facts)
        await shop_.engine.caught_up()
    for path in list(tmp_path.glob("shop.views.db*")):  # noqa: ASYNC240 - nothing runs now
        path.unlink()
    async with running(file, shop.Sales) as shop_:
        await shop_.engine.caught_up()
        assert await shop_.rows(shop.ProductSales) == by_key(naive_sales(facts)["product_sales"])


async def test_hand_written_sql_takes_effect_once(file: str) -> None:
    """P1: an adding statement counts right over restarts, and over a batch that fails in its middle."""
    lines: list[Fact] = [(shop.order(str(n)), shop.added("pen")) for n in range(30)]
    async with running(file, shop.SalesBySql) as shop_:
        await shop_.append(lines)
        await shop_.engine.caught_up()
    async with running(file, shop.SalesBySql, is_started=False) as shop_:
        await shop_.append([*lines, (shop.order("x"), shop.added("poison")), *lines])
        await shop_.engine.start()
        with pytest.raises(StaleReadError, match="stopped"):
            await shop_.engine.caught_up()
        progress = shop_.engine.progress["sales_by_sql"]
        assert progress.position == 60
        assert "position 61 (Added): RuntimeError: no SQL for poison" in str(progress.error)
        assert {key: row.lines for key, row in (await shop_.rows(shop.HandWritten)).items()} == {"pen": 60}


async def test_a_page_without_matching_events_moves_progress_and_is_saved_for_who_waits(url: str) -> None:
    async with running(url, shop.Sales) as shop_:
        last = await shop_.append([(shop.order("1"), shop.Noise())] * 5)
        progress = shop_.engine.progress["sales"]
        assert await progress.wait_for(last.position, 2.0)
        assert (await shop_.views.checkpoint("sales")).position == last.position


async def test_progress_says_what_it_is_about(url: str) -> None:
    async with running(url, shop.Sales, (shop.Baskets, "inline")) as shop_:
        sales, baskets = shop_.engine.progress["sales"], shop_.engine.progress["baskets"]
        assert (sales.mode, sales.tables, sales.event_types) == ("async", ("product_sales",), frozenset({"Added"}))
        assert (baskets.mode, baskets.event_types) == ("inline", frozenset({"Placed", "Added", "Erased"}))


async def test_an_inline_projection_commits_with_its_append(url: str) -> None:
    """L7: when the append returns, the rows are there; nobody waits."""
    async with running(url, (shop.Baskets, "inline"), shop.Sales) as shop_:
        last = await shop_.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added(quantity=3))])
        rows = await shop_.rows(shop.Basket, shop_.events.inline)
        assert rows[shop.order("1").id].items == 3
        assert (await shop_.events.inline.checkpoint("baskets")).position == last.position
        assert await shop_.engine.progress["baskets"].wait_for(last.position, 2.0)


async def test_an_inline_error_refuses_its_append_and_no_other(url: str) -> None:
    async with running(url, (shop.Baskets, "inline")) as shop_:
        await shop_.append([(shop.order("1"), shop.placed())])
        with pytest.raises(ProjectionError, match="this basket is poisoned"):
            await shop_.append([(shop.order("1"), shop.added("poison"))])
        assert (await shop_.events.head()).position == 1
        last = await shop_.append([(shop.order("1"), shop.added("pen"))])
        assert last.position == 2
        assert (await shop_.rows(shop.Basket, shop_.events.inline))[shop.order("1").id].total == Decimal("1.50")


async def test_an_inline_projection_that_is_new_is_caught_up_before_it_folds(file: str) -> None:
    async with running(file, shop.Sales) as shop_:
        await shop_.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added())])
    async with running(file, (shop.Baskets, "inline")) as shop_:
        await shop_.append([(shop.order("1"), shop.added())])
        assert (await shop_.rows(shop.Basket, shop_.events.inline))[shop.order("1").id].items == 2


async def test_a_start_gives_up_on_an_inline_projection_whose_store_keeps_failing(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2: it says so, and does not hang."""
    async with running(file, shop.Sales) as shop_:
        await shop_.append([(shop.order("1"), shop.placed())])
    impatient = Rules(Pace(first_pause=0.01, longest_pause=0.02, start_patience=0.1))

    async def full(batch: ViewBatch) -> None:
        raise StoreFullError("no space left")

    async with running(file, (shop.Baskets, "inline"), rules=impatient, is_started=False) as shop_:
        monkeypatch.setattr(shop_.events.inline, "commit", full)
        with pytest.raises(StoreUnavailableError, match=r"baskets is inline and cannot .*: no space left"):
            await shop_.engine.start()


async def test_an_append_tells_the_inline_projections_where_they_stand(url: str) -> None:
    async with running(url, (shop.Baskets, "inline")) as shop_:
        last = await shop_.append([(shop.order("1"), shop.placed())])
        shop_.engine.appended(last, 1)
        assert shop_.engine.progress["baskets"].position == 1


async def forge(url: str, shop_: Running, batch: ViewBatch) -> None:
    """Move a checkpoint onto an event that no log has, through a store of rows that does not know of one."""
    if not url.startswith("postgresql"):
        await shop_.views.commit(batch)
        return
    store = PostgresViewStore(database_of(url)[0], StoreSettings())
    await store.open(shop_.engine.async_tables, store_id=shop_.events.store_id)
    await store.commit(batch)
    await store.close()


async def test_a_checkpoint_of_another_history_stops(file: str) -> None:
    async with running(file, shop.Sales, shop.Baskets, is_started=False) as shop_:
        await shop_.append([(shop.order("1"), shop.placed())])
        for one in await shop_.views.generations.all():
            at = {"sales": 1, "baskets": 7}[one.projection]
            moves = [LaneMove(lane, 0, 0) for lane in range(one.lanes)]
            await forge(file, shop_, ViewBatch(one.projection, one.number, moves, at, shop.random_id()))
        await shop_.engine.start()
        with pytest.raises(StaleReadError, match="stopped"):
            await shop_.engine.caught_up()
        for progress in shop_.engine.progress.values():
            await progress.wait_for(10**6, 2.0)
            assert "was made from another history" in str(progress.error)
