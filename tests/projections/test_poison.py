"""P7: a failing event delays no other key of an isolated projection, no other projection, and no append."""

import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from diptych.errors import StaleReadError
from diptych.handlers import on
from diptych.messages import Metadata
from diptych.projections.projection import Projection
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY
from tests.projections import shop
from tests.projections.naive import naive_sales
from tests.projections.running import by_key, running
from tests.projections.shop import Added, Basket, Fact, Placed
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.fixture
def mended() -> Iterator[None]:
    shop.Baskets.is_mended = True
    yield
    shop.Baskets.is_mended = False


def life(orders: int, lines: int) -> list[Fact]:
    """So many orders, their lines taking turns."""
    facts: list[Fact] = [(shop.order(str(n)), shop.placed()) for n in range(orders)]
    return facts + [(shop.order(str(n)), shop.added(quantity=n + 1)) for _ in range(lines) for n in range(orders)]


def items(orders: int, lines: int, poisoned: dict[int, int]) -> dict[str, int]:
    """How many items each order has, a poisoned one no more than before its poison."""
    return {str(shop.order(str(n)).id): (n + 1) * min(lines, poisoned.get(n, lines)) for n in range(orders)}


@pytest.mark.parametrize("seed", range(12))
async def test_a_poisoned_key_is_parked_and_the_others_go_on(seed: int) -> None:
    """P7, isolated: one seeded poison event, in one batch with all that follows it or in another."""
    random, orders, lines = Random(seed), 6, 4
    facts = life(orders, lines)
    at = random.randrange(orders, len(facts))
    which, earlier = (at - orders) % orders, (at - orders) // orders
    facts.insert(at, (shop.order(str(which)), shop.added("poison")))
    async with running("memory:", shop.Baskets, shop.Sales, is_started=seed % 2 == 1) as shop_:
        if seed % 2:
            await shop_.append(facts[: at + 1])
            await shop_.engine.caught_up()
            await shop_.append(facts[at + 1 :])
        else:
            await shop_.append(facts)
            await shop_.engine.start()
        await shop_.engine.caught_up()
        rows = await shop_.rows(Basket)
        assert {str(id): row.items for id, row in rows.items()} == items(orders, lines, {which: earlier})
        assert await shop_.rows(shop.ProductSales) == by_key(naive_sales(facts)["product_sales"])
        progress = shop_.engine.progress["baskets"]
        assert (progress.state, progress.parked) == ("parked", 1)
        assert f"position {at + 1} (Added)" in str(progress.error)
        assert "this basket is poisoned" in str(progress.error)
        parked = await shop_.views.parked("baskets")
        assert [event.position for event in parked] == [
            position
            for position, (stream, _) in enumerate(facts, 1)
            if stream == shop.order(str(which)) and position > at
        ]
        assert [bool(event.error) for event in parked] == [True] + [False] * (len(parked) - 1)


@pytest.mark.parametrize("seed", range(12))
async def test_a_projection_that_is_not_isolated_stops_right_before_its_poison(seed: int) -> None:
    """P7, not isolated: what is before the event is there, the event is named, the others go on."""

    class PickySales(Projection[shop.HandWritten]):
        @on(key="product")
        def sold(self, row: shop.HandWritten | None, event: Added) -> shop.HandWritten:
            if event.product == "poison":
                raise RuntimeError("not for sale")
            return shop.HandWritten(product=event.product, lines=(row.lines if row else 0) + 1)

    facts = life(5, 3)
    at = Random(seed).randrange(5, len(facts))
    facts.insert(at, (shop.order("0"), shop.added("poison")))
    async with running("memory:", PickySales, shop.Sales, is_started=seed % 2 == 1) as shop_:
        await shop_.append(facts)
        await shop_.engine.start() if seed % 2 == 0 else None
        with pytest.raises(StaleReadError, match="picky_sales: still stopped"):
            await shop_.engine.caught_up()
        progress = shop_.engine.progress["picky_sales"]
        assert (progress.state, progress.saved) == ("stopped", at)
        assert f"position {at + 1} (Added)" in str(progress.error)
        assert "not for sale" in str(progress.error)
        failed = (await shop_.events.read_log(after=at, limit=1)).events[0]
        assert progress.behind_since == failed.recorded_at
        assert sum(row.lines for row in (await shop_.rows(shop.HandWritten)).values()) == at - 5
        assert await shop_.engine.progress["sales"].wait_for(len(facts), 5.0)


async def test_parked_keys_stay_parked_over_a_restart_and_are_applied_once_mended(file: str) -> None:
    facts = life(4, 2)
    poison: Fact = (shop.order("2"), shop.added("poison", 100))
    async with running(file, shop.Baskets) as shop_:
        await shop_.append([*facts, poison])
        await shop_.engine.caught_up()
    async with running(file, shop.Baskets) as shop_:
        await shop_.append([(shop.order("2"), shop.added()), (shop.order("3"), shop.added())])
        await shop_.engine.caught_up()
        rows = await shop_.rows(Basket)
        assert (rows[shop.order("2").id].items, rows[shop.order("3").id].items) == (6, 9)
        assert len(await shop_.views.parked("baskets")) == 2


@pytest.mark.usefixtures("mended")
async def test_a_mended_projection_applies_what_was_parked_at_its_next_start(file: str) -> None:
    facts = life(4, 2)
    shop.Baskets.is_mended = False
    async with running(file, shop.Baskets) as shop_:
        await shop_.append([*facts, (shop.order("2"), shop.added("poison", 100)), (shop.order("2"), shop.added())])
        await shop_.engine.caught_up()
        assert shop_.engine.progress["baskets"].parked == 1
    shop.Baskets.is_mended = True
    async with running(file, shop.Baskets) as shop_:
        await shop_.append([(shop.order("2"), shop.added())])
        await shop_.engine.caught_up()
        assert (await shop_.rows(Basket))[shop.order("2").id].items == 6 + 100 + 1 + 1
        assert await shop_.views.parked("baskets") == []
        assert shop_.engine.progress["baskets"].state == "running"


@pytest.mark.usefixtures("mended")
async def test_retry_applies_parked_keys_while_running() -> None:
    shop.Baskets.is_mended = False
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added("poison"))])
        await shop_.engine.caught_up()
        shop.Baskets.is_mended = True
        shop_.engine.retry("baskets")
        last = await shop_.append([(shop.order("1"), shop.added())])
        assert await shop_.engine.progress["baskets"].wait_for(last.position, 5.0)
        assert (await shop_.rows(Basket))[shop.order("1").id].items == 2
        assert shop_.engine.progress["baskets"].parked == 0


async def test_more_than_a_hundred_parked_keys_are_a_bug_and_stop() -> None:
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.order(str(n)), shop.placed()) for n in range(101)])
        last = await shop_.append([(shop.order(str(n)), shop.added("poison")) for n in range(101)])
        with pytest.raises(StaleReadError, match="stopped"):
            await shop_.engine.caught_up()
        progress = shop_.engine.progress["baskets"]
        assert (progress.saved, progress.state) == (last.position - 1, "stopped")
        assert len(await shop_.views.parked("baskets")) == 100


async def test_a_value_that_no_column_takes_parks_only_its_own_key() -> None:
    """Known only when the whole batch is written: the culprit is found by halving it."""

    class Wide(Projection[shop.HandWritten | Basket]):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:
            return Basket(id=meta.stream.id, total=Decimal(0), items=0)

        @on
        def added(self, row: Basket, event: Added) -> Basket:
            return row.replace(items=2**70 if event.product == "poison" else row.items + 1)

    facts = life(20, 2)
    facts.insert(33, (shop.order("7"), shop.added("poison")))
    async with running("memory:", Wide, is_started=False) as shop_:
        await shop_.append(facts)
        await shop_.engine.start()
        await shop_.engine.caught_up()
        rows = {id: row.items for id, row in (await shop_.rows(Basket)).items()}
        assert rows == {shop.order(str(n)).id: 2 for n in range(20)} | {shop.order("7").id: 1}
        assert shop_.engine.progress["wide"].parked == 1


async def test_an_event_that_cannot_be_read_is_parked_with_its_key() -> None:
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.order("1"), shop.placed()), (shop.order("2"), shop.placed())])
        bad = shop.codec().encode(shop.added())._replace(payload='{"product": 1}')
        await shop_.events.append(Append([StreamWrite(shop.order("1"), ANY, [bad])]))
        await shop_.append([(shop.order("2"), shop.added()), (shop.order("1"), shop.added())])
        await shop_.engine.caught_up()
        rows = await shop_.rows(Basket)
        assert (rows[shop.order("1").id].items, rows[shop.order("2").id].items) == (0, 1)
        assert "Position 3: cannot read Added v1" in str(shop_.engine.progress["baskets"].error)


@pytest.mark.parametrize("version", [1, 9])
async def test_an_unknown_event_stops_even_an_isolated_projection(version: int) -> None:
    """I2: it may be of newer code; skipping it would be wrong for ever."""
    async with running("memory:", shop.Baskets) as shop_:
        name = "FromTheFuture" if version == 1 else "Added"
        new = shop.codec().encode(shop.added())._replace(type=name, schema_version=version)
        await shop_.append([(shop.order("1"), shop.placed())])
        await shop_.events.append(Append([StreamWrite(shop.order("1"), ANY, [new])]))
        with pytest.raises(StaleReadError, match="stopped"):
            await shop_.engine.caught_up()
        progress = shop_.engine.progress["baskets"]
        assert f"Position 2 holds a {name} v{version} which this code does not know" in str(progress.error)
        assert progress.saved == 1


class Hanging(Projection[Basket]):
    """Hangs on every event until it is let go."""

    let_go: ClassVar[threading.Event] = threading.Event()

    @on
    def placed(self, event: Placed, meta: Metadata) -> Basket:
        self.let_go.wait(20)
        return Basket(id=meta.stream.id, total=Decimal(0), items=0)


async def test_a_hanging_handler_delays_no_other_projection_and_no_append() -> None:
    """P7: appends return and the other projection is done while it still hangs; its heartbeat stands still."""
    Hanging.let_go.clear()
    try:
        async with running("memory:", Hanging, shop.Sales) as shop_:
            last = await shop_.append(life(3, 3))
            assert await shop_.engine.progress["sales"].wait_for(last.position, 5.0)
            hanging = shop_.engine.progress["hanging"]
            assert (hanging.saved, hanging.state) == (0, "running")
            before = hanging.heartbeat
            last = await shop_.append(life(3, 1))
            assert await shop_.engine.progress["sales"].wait_for(last.position, 5.0)
            assert hanging.heartbeat == before
    finally:
        Hanging.let_go.set()
