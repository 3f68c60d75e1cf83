"""P3, P9: a projection is built again beside the one that is read, which nobody who reads or writes notices."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from diptych.app.operating import Operator
from diptych.errors import BuildStoppedError, RebuildRefusedError, SwapRefusedError
from diptych.projections.backfill import Backfill
from diptych.projections.plan import Mode
from diptych.projections.previewing import preview
from diptych.projections.projection import Projection
from diptych.projections.site import Rules
from diptych.read.models import ReadModel
from diptych.store.generations import Generation
from diptych.store.opening import log_from_outside, open_stores
from tests.projections import shop
from tests.projections.harmful import board_where, until
from tests.projections.rebuilds import (
    FROZEN,
    KEEPING,
    PACE,
    Decided,
    DoubleBaskets,
    StrictBySql,
    WholeBaskets,
    differences,
    keys,
    live,
    orders,
    plant,
    reading,
    rebuild,
    subject_of,
    wider,
    writing,
)
from tests.projections.running import applied, running
from tests.projections.shop import Basket, HandWritten, ProductSales
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


# --- under load ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "models"),
    [
        (shop.Baskets, [Basket]),
        (shop.Orders, [shop.Order, shop.CustomerName]),
        (shop.SalesBySql, [HandWritten]),
    ],
    ids=["isolated", "look-ups", "by-sql"],
)
async def test_a_rebuild_while_events_come_is_compared_and_swapped_and_no_query_fails(
    url: str, given: type[Projection[Any]], models: list[type[ReadModel]]
) -> None:
    """P3: both are one at one position; a snapshot from before the swap stays as it was."""
    async with running(url, given, rules=KEEPING) as shop_:
        await shop_.append([(shop.customer("ada"), shop.Registered(name="Ada")), *orders(50)])
        await shop_.engine.caught_up()
        subject, decided = subject_of(shop_, given), Decided()
        sql = f'SELECT count(*) FROM "{shop_.engine.async_tables[0].tables[0].name}"'
        async with shop_.views.reader() as early:
            before = await early.fetch(sql, {})
            async with writing(shop_) as written, reading(shop_, *models) as counts:
                await until(lambda: len(written) > 3)
                done = await rebuild(subject, decided)
                so_far = len(written)
                await until(lambda: len(written) > so_far + 3)
                assert await shop_.engine.progress[subject.name].wait_for(written[-1], 10)
            assert await early.fetch(sql, {}) == before
        (seen,) = decided.seen
        assert seen.comparison is not None
        assert seen.comparison.is_at_one_position
        assert seen.comparison.is_equal
        assert done.is_swapped
        await shop_.engine.look()
        assert (await live(subject)).number == done.new.number == shop_.engine.progress[subject.name].generation
        assert len(counts) > 5
        await shop_.engine.caught_up()
        assert await differences(subject) == []
        assert not (await shop_.views.leases.board()).paused


async def test_caught_up_is_said_of_the_rows_that_are_read(url: str) -> None:
    """Not of those that were read until a moment ago, where this process has not heard of a swap yet."""
    async with running(url, shop.Sales, rules=Rules(PACE._replace(lease=20.0))) as shop_:
        await shop_.append(orders(5))
        await shop_.engine.caught_up()
        await rebuild(subject_of(shop_, shop.Sales))
        await shop_.append([(shop.order("1"), shop.added("novelty", 3))])
        await shop_.engine.caught_up()
        assert (await shop_.rows(ProductSales))["novelty"].sold == 3


async def test_an_inline_projection_is_rebuilt_while_appends_fold_it(url: str) -> None:
    """Afterwards appends fold the new rows: they are there when the append returns."""
    async with running(url, (shop.Sales, "inline"), rules=KEEPING) as shop_:
        await shop_.append(orders(50))
        subject, decided = subject_of(shop_, shop.Sales, "inline"), Decided()
        async with writing(shop_), reading(shop_, ProductSales):
            done = await rebuild(subject, decided)
        assert decided.seen[0].comparison is not None
        assert decided.seen[0].comparison.is_equal
        assert done.is_swapped
        await shop_.engine.look()
        await shop_.engine.caught_up()
        last = await shop_.append([(shop.order("1"), shop.added("novelty", 3))])
        assert [place.position for place in await subject.views.places("sales", done.new.number)] == [last.position]
        assert (await shop_.rows(ProductSales))["novelty"].sold == 3
        assert await differences(subject) == []


async def test_what_is_read_is_held_for_a_moment_and_who_reads_its_own_write_only_waits(url: str) -> None:
    """A rebuild that is killed while it holds the live one leaves a pause that ends by itself."""
    async with running(url, shop.Sales, rules=KEEPING) as shop_:
        await shop_.append(orders(1))
        await shop_.engine.caught_up()
        reason = "a rebuild that was killed"
        await shop_.views.leases.pause("sales", 1.0, reason=reason, by="", yields=True)
        await board_where(shop_.views, lambda board: "sales" in board.paused)
        progress = shop_.engine.progress["sales"]
        await shop_.engine.look()
        assert progress.state == "paused"
        last = await shop_.append([(shop.order("1"), shop.added())])
        assert await progress.wait_for(last.position, 10)


async def test_what_somebody_paused_is_rebuilt_and_stays_paused(url: str) -> None:
    async with running(url, shop.Sales, rules=KEEPING) as shop_:
        await shop_.append(orders(20))
        await shop_.engine.caught_up()
        await shop_.views.leases.pause("sales", None, reason="maintenance", by="ada")
        await board_where(shop_.views, lambda board: "sales" in board.paused)
        await shop_.engine.look()
        await shop_.append(orders(1, first=30))
        subject, decided = subject_of(shop_, shop.Sales), Decided()
        done = await rebuild(subject, decided)
        assert decided.seen[0].comparison is not None
        assert decided.seen[0].comparison.positions == (60, 60)
        assert done.is_swapped
        assert {name: pause.reason for name, pause in (await shop_.views.leases.board()).paused.items()} == {
            "sales": "maintenance (ada)"
        }
        assert await differences(subject) == []


# --- what differs ----------------------------------------------------------------------------------------------------


async def test_a_row_that_somebody_spoilt_is_found_shown_and_mended_by_the_swap(url: str) -> None:
    async with running(url, shop.Baskets, rules=KEEPING) as shop_:
        await shop_.append(orders(20))
        await shop_.engine.caught_up()
        subject = subject_of(shop_, shop.Baskets)
        one = shop.order("7").id
        number = (await live(subject)).number
        await plant(url, f"UPDATE basket__g{number} SET items = 99 WHERE id = '{one}'")
        decided = Decided(swaps=False)
        done = await rebuild(subject, decided)
        (table,) = decided.seen[0].comparison.tables  # type: ignore[union-attr]
        assert (table.rows, table.differing) == ((20, 20), 1)
        ((_, old, new),) = table.samples
        assert old is not None
        assert new is not None
        assert (old["items"], new["items"]) == (99, 2)
        assert not done.is_swapped
        assert (await shop_.rows(Basket))[one].items == 99
        again = await rebuild(subject, Decided())
        assert again.new.number == done.new.number
        assert (await shop_.rows(Basket))[one].items == 2
        assert await differences(subject) == []


@pytest.mark.parametrize("given", [WholeBaskets, DoubleBaskets], ids=["lanes", "version"])
async def test_rows_of_other_code_stand_and_are_compared_where_they_stand(
    url: str, given: type[Projection[Any]]
) -> None:
    """The code of today is to be built on purpose here: until then the old rows are served as they are."""
    await applied(url, shop.Baskets, orders(20))
    async with running(url, given, rules=FROZEN) as shop_:
        await shop_.append(orders(5, first=50))
        assert shop_.engine.progress["baskets"].state == "frozen"
        subject, decided = subject_of(shop_, given), Decided()
        done = await rebuild(subject, decided)
        comparison = decided.seen[0].comparison
        assert comparison is not None
        assert (comparison.is_at_one_position, comparison.positions) == (True, (60, 60))
        assert comparison.is_equal is (given is WholeBaskets)
        assert done.is_swapped
        await shop_.engine.look()
        await shop_.engine.caught_up()
        assert len(await shop_.rows(Basket)) == 25
        assert await differences(subject) == []


async def test_one_lane_becomes_sixteen(url: str) -> None:
    await applied(url, WholeBaskets, orders(20))
    async with running(url, shop.Baskets, rules=FROZEN) as shop_:
        subject, decided = subject_of(shop_, shop.Baskets), Decided()
        done = await rebuild(subject, decided)
        assert (done.old.lanes if done.old else 0, done.new.lanes) == (1, 16)
        assert decided.seen[0].comparison is not None
        assert decided.seen[0].comparison.is_equal
        await shop_.engine.look()
        await shop_.append(orders(5, first=50))
        await shop_.engine.caught_up()
        assert await differences(subject) == []


async def test_rows_of_another_shape_are_compared_by_what_both_have(url: str) -> None:
    await applied(url, shop.Baskets, orders(20))
    given, row = wider()
    async with running(url, given, rules=FROZEN) as shop_:
        subject, decided = subject_of(shop_, given), Decided()
        done = await rebuild(subject, decided)
        assert decided.seen[0].comparison is not None
        assert decided.seen[0].comparison.is_equal
        assert done.is_swapped
        await shop_.engine.look()
        assert {each.lines for each in (await shop_.rows(row)).values()} == {2}


# --- back, and away --------------------------------------------------------------------------------------------------


async def test_an_earlier_generation_is_read_again_and_the_later_one_too(url: str) -> None:
    async with running(url, shop.Sales, rules=KEEPING) as shop_:
        await shop_.append(orders(20))
        await shop_.engine.caught_up()
        subject = subject_of(shop_, shop.Sales)
        operator = Operator(subject, "ada")
        done = await rebuild(subject)
        await shop_.append(orders(5, first=50))
        await shop_.engine.caught_up()
        for number in (1, done.new.number):
            old, new = await operator.rollback(None, "we look at it")
            assert (old.number, new.number) == ({1: done.new.number, done.new.number: 1}[number], number)
            await shop_.engine.look()
            await shop_.append([(shop.order("1"), shop.added("late"))])
            await shop_.engine.caught_up()
            assert await differences(subject) == []
        noted = await shop_.views.leases.requests("sales")
        assert [(one.verb, one.asked_by, one.reason) for one in noted] == [("rollback", "ada", "we look at it")] * 2
        with pytest.raises(SwapRefusedError, match="it was not kept; there are: 1"):
            await operator.rollback(99, "")


async def test_rows_that_this_code_cannot_read_are_not_rolled_back_to(url: str) -> None:
    await applied(url, shop.Baskets, orders(5))
    given, _ = wider()
    async with running(url, given, rules=FROZEN) as shop_:
        subject = subject_of(shop_, given)
        await rebuild(subject)
        with pytest.raises(SwapRefusedError, match="another shape than this code reads"):
            await Operator(subject, "ada").rollback(None, "")


async def test_what_was_kept_is_dropped_after_a_time(url: str) -> None:
    async with running(url, shop.Sales, rules=Rules(PACE._replace(keep=0.3))) as shop_:
        await shop_.append(orders(5))
        await shop_.engine.caught_up()
        done = await rebuild(subject_of(shop_, shop.Sales))
        await board_where(shop_.views, lambda board: [one.number for one in board.generations] == [done.new.number])


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def test_a_key_that_fails_is_parked_in_the_build_and_the_rest_is_built(url: str) -> None:
    poison = [(shop.order("3"), shop.added("poison")), (shop.order("3"), shop.added("pen"))]
    await applied(url, DoubleBaskets, [*orders(20), *poison], KEEPING)
    async with running(url, shop.Baskets, rules=FROZEN) as shop_:
        subject = subject_of(shop_, shop.Baskets)
        done = await rebuild(subject)
        assert (done.is_swapped, done.parked) == (True, 1)
        parked = await shop_.views.parked("baskets")
        assert [(each.key, each.position) for each in parked] == [(str(shop.order("3").id), at) for at in (61, 62)]
        assert await differences(subject) == []


async def test_an_event_that_stops_a_build_is_named_and_the_build_goes_on_once_it_is_mended(url: str) -> None:
    await applied(url, shop.SalesBySql, orders(1000))
    StrictBySql.is_mended = False
    async with running(url, StrictBySql, rules=FROZEN) as shop_:
        subject = subject_of(shop_, StrictBySql)
        with pytest.raises(
            BuildStoppedError, match=r"failed on position 11 \(Added\).*projection rebuild sales_by_sql"
        ):
            await rebuild(subject)
        (building,) = [one for one in await subject.views.generations.all() if one.state == "building"]
        assert [place.position for place in await subject.views.places(subject.name, building.number)] == [10]
        StrictBySql.is_mended = True
        done = await rebuild(subject)
        assert (done.new.number, done.is_swapped) == (building.number, True)
        assert await differences(subject) == []


@pytest.mark.parametrize("given", [shop.Baskets, shop.SalesBySql], ids=["parked", "stopped"])
async def test_an_event_that_was_left_out_for_ever_is_left_out_again_if_it_still_fails(
    url: str, given: type[Projection[Any]]
) -> None:
    """Else what was skipped once could never be rebuilt, or its rows would differ for ever."""
    async with running(url, given, rules=KEEPING) as shop_:
        subject, decided = subject_of(shop_, given), Decided()
        await shop_.append([*orders(5), (shop.order("3"), shop.added("poison")), (shop.order("3"), shop.added("pen"))])
        await until(lambda: shop_.engine.progress[subject.name].state in ("parked", "stopped"))
        key = next((event.key for event in await shop_.views.parked(subject.name)), "")
        (done,) = await Operator(subject, "ada").ask("skip", key=key, position=16, reason="a test", within=10)
        assert done.outcome.startswith("Position 16 is left out for ever.")
        await shop_.engine.caught_up()
        made = await rebuild(subject, decided)
        assert decided.seen[0].comparison is not None
        assert decided.seen[0].comparison.is_equal
        assert (made.is_swapped, made.parked) == (True, 0)
        assert [place.position for place in await subject.views.places(subject.name)] == [17] * made.new.lanes


async def test_two_begin_at_once_and_make_one_generation(url: str) -> None:
    async with running(url, shop.Sales, rules=KEEPING) as shop_, running(url, shop.Sales, is_started=False) as other:
        tables = subject_of(shop_, shop.Sales).definition.tables
        made = await asyncio.gather(*[each.views.generations.begin(tables) for each in (shop_, other) * 4])
        assert len(set(made)) == 1


async def test_two_rebuilds_at_once_do_not_hang(url: str) -> None:
    """One has the lanes; the other says so."""
    async with running(url, shop.Sales, rules=KEEPING) as shop_, running(url, shop.Sales, is_started=False) as other:
        await shop_.append(orders(20))
        await shop_.engine.caught_up()
        subject = subject_of(shop_, shop.Sales)
        new = await subject.views.generations.begin(subject.definition.tables)
        async with Backfill(subject_of(other, shop.Sales), new.number) as builder:
            await builder.take([0])
            with pytest.raises(RebuildRefusedError, match=r"is being built already, by process \d+ of this machine"):
                await rebuild(subject)
        assert (await rebuild(subject)).is_swapped


async def test_a_build_whose_generation_is_dropped_says_so(url: str) -> None:
    async with running(url, shop.Sales, rules=KEEPING) as shop_:
        await shop_.append(orders(20))
        subject = subject_of(shop_, shop.Sales)
        new = await subject.views.generations.begin(subject.definition.tables)
        async with Backfill(subject, new.number) as builder:
            await builder.take([0])
            await subject.views.generations.drop("sales", new.number)
            with pytest.raises(RebuildRefusedError, match=f"generation {new.number} is gone"):
                await builder.build(10)


async def test_processes_with_different_code_do_not_drop_each_others_build(url: str) -> None:
    """In a rolling deploy: who comes second waits until the first is done, instead of beginning anew for ever."""
    await applied(url, shop.Baskets, orders(20))
    async with running(url, DoubleBaskets, rules=FROZEN) as first:
        subject = subject_of(first, DoubleBaskets)
        new = await subject.views.generations.begin(subject.definition.tables)
        async with Backfill(subject, new.number) as builder:
            await builder.take(range(16))
            async with running(url, WholeBaskets, rules=KEEPING) as second:
                await second.engine.look()
                numbers = [one.number for one in await subject.views.generations.all()]
                assert numbers == [1, new.number]
                with pytest.raises(RebuildRefusedError, match="builds generation 2 with other code"):
                    await rebuild(subject_of(second, WholeBaskets))
        async with running(url, WholeBaskets, rules=KEEPING) as second:
            whole = subject_of(second, WholeBaskets)
            await board_where(second.views, lambda board: _has_read(board.generations, whole.definition.tables.lanes))
            await second.engine.caught_up()
            assert await differences(whole) == []


def _has_read(generations: Any, lanes: int) -> bool:
    return any(one.state == "live" and one.lanes == lanes for one in generations)


# --- before it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "mode"), [(shop.Baskets, "async"), (shop.Sales, "inline")])
async def test_a_preview_counts_what_is_to_be_read_and_tries_for_a_moment(
    url: str, given: type[Projection[Any]], mode: Mode
) -> None:
    async with running(url, (given, mode), rules=KEEPING) as shop_:
        await shop_.append([*orders(40), (shop.customer("ada"), shop.Registered(name="Ada"))])
        await shop_.engine.caught_up()
        subject = subject_of(shop_, given, mode)
        before = await _generations(shop_)
        async with log_from_outside(url) as log:
            expected = await preview(subject, log)
        assert expected.events == {"Added": 80, **({"Placed": 40} if given is shop.Baskets else {})}
        assert expected.head == 121
        assert expected.rate is not None
        assert expected.seconds == 121 / expected.rate
        assert 4096 <= expected.bytes < 1_000_000
        assert await _generations(shop_) == before


async def test_a_preview_of_what_cannot_be_tried_tells_no_speed(url: str) -> None:
    StrictBySql.is_mended = False
    async with running(url, StrictBySql, is_started=False) as shop_:
        await shop_.append(orders(20))
        async with log_from_outside(url) as log:
            expected = await preview(subject_of(shop_, StrictBySql), log)
        assert (expected.head, expected.rate, expected.seconds) == (60, None, None)


async def _generations(shop_: Any) -> list[Generation]:
    return [*await shop_.views.generations.all(), *await shop_.events.inline.generations.all()]


async def test_nothing_is_read_yet_and_a_rebuild_makes_the_first_rows(url: str) -> None:
    """Where no service ever ran with this projection, what opening made is empty and compared with nothing."""
    async with running(url) as before:
        await before.append(orders(20))
    stores = open_stores(url)
    await stores.events.open()
    async with running(url, shop.Sales, rules=KEEPING, is_started=False) as shop_:
        subject, decided = subject_of(shop_, shop.Sales), Decided()
        done = await rebuild(subject, decided)
        assert done.is_swapped
        assert await differences(subject) == []
    await stores.events.close()
    assert keys(decided.seen[0].comparison) == []
