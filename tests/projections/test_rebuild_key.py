"""The rows of one key are folded again by whoever has its lane, in one transaction, while everything else goes on."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from diptych.app.operating import Operator
from diptych.errors import RebuildRefusedError
from diptych.projections.projection import Projection
from diptych.store.leases import Request, Worker
from diptych.stream import StreamName
from diptych.subscriptions import failures
from diptych.subscriptions.lanes import lane_of
from tests.projections import shop
from tests.projections.harmful import Harmful, board_where, child, until
from tests.projections.rebuilds import DoubleBaskets, differences, live, orders, plant, subject_of
from tests.projections.running import Running, applied, running
from tests.projections.shop import Basket
from tests.urls import url_for

pytestmark = pytest.mark.anyio
ONE = shop.order("7").id


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


async def asked(shop_: Running, given: type[Projection[Basket]] = shop.Baskets) -> str:
    """Ask for the one key, and return what was answered."""
    operator = Operator(subject_of(shop_, given), "ada")
    return _only(await operator.rebuild_key(ONE, "it looks wrong", 10))


def _only(done: Sequence[Request]) -> str:
    (one,) = done
    assert (one.verb, one.key, one.asked_by, one.reason) == ("rebuild", str(ONE), "ada", "it looks wrong")
    return one.outcome


@pytest.mark.parametrize("spoilt", ["UPDATE basket__g{} SET items = 99", "DELETE FROM basket__g{}"])
async def test_a_spoilt_row_is_made_anew_and_others_stay_as_they_are(url: str, spoilt: str) -> None:
    async with running(url, shop.Baskets) as shop_, running(url, shop.Baskets):
        await shop_.append(orders(20))
        await shop_.engine.caught_up()
        subject = subject_of(shop_, shop.Baskets)
        number, other = (await live(subject)).number, shop.order("8").id
        await plant(url, f"{spoilt.format(number)} WHERE id IN ('{ONE}', '{other}')")
        assert await asked(shop_) == f"{ONE}: its rows are made of its 3 events again."
        (difference,) = await differences(subject)
        assert str(other) in difference
        last = await shop_.append([(shop.order("7"), shop.added("pen", 5))])
        assert await shop_.engine.progress["baskets"].wait_for(last.position, 5)
        assert (await shop_.rows(Basket))[ONE].items == 7


async def test_a_row_that_no_event_makes_goes_and_events_of_all_streams_of_the_id_count(url: str) -> None:
    """Streams of two categories may share an id; an isolated projection keeps one row for both."""
    async with running(url, shop.Baskets) as shop_:
        await shop_.append(orders(3))
        await shop_.engine.caught_up()
        number = (await live(subject_of(shop_, shop.Baskets))).number
        await plant(url, f"INSERT INTO basket__g{number} (id, total, items) VALUES ('{ONE}', 0, 3)")
        assert await asked(shop_) == f"{ONE}: its rows are made of its 0 events again."
        assert ONE not in await shop_.rows(Basket)
        twin = StreamName("acme", "Return", ONE)
        await shop_.append([*orders(1, first=7), (twin, shop.added("pen", 10)), (shop.order("7"), shop.added())])
        await shop_.engine.caught_up()
        assert await asked(shop_) == f"{ONE}: its rows are made of its 5 events again."
        assert (await shop_.rows(Basket))[ONE].items == 13


async def test_a_parked_key_is_released_if_it_succeeds_now(url: str) -> None:
    async with running(url, shop.Baskets) as shop_:
        await shop_.append([*orders(1, first=7), (shop.order("7"), shop.added("poison"))])
        await shop_.append([(shop.order("7"), shop.added("pen", 5)), *orders(1)])
        await shop_.engine.caught_up()
        assert "stays as it is: baskets failed on position 4 (Added)" in await asked(shop_)
        assert [event.position for event in await shop_.views.parked("baskets")] == [4, 5]
        assert (await shop_.rows(Basket))[ONE].items == 2
        shop.Baskets.is_mended = True
        assert await asked(shop_) == f"{ONE}: its rows are made of its 5 events again."
        assert await shop_.views.parked("baskets") == []
        assert (await shop_.rows(Basket))[ONE].items == 8
        await shop_.append([(shop.order("7"), shop.added("pen", 1))])
        await shop_.engine.caught_up()
        assert await differences(subject_of(shop_, shop.Baskets)) == []


async def test_a_key_that_fails_again_mends_nothing_of_a_projection_that_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer does not say that it goes on, and the board still says why it stands."""
    monkeypatch.setattr(failures, "MOST_PARKED", 1)
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.order("7"), shop.placed()), (shop.order("7"), shop.added("poison"))])
        await shop_.append([(shop.order("8"), shop.placed()), (shop.order("8"), shop.added("poison"))])
        await until(lambda: shop_.engine.progress["baskets"].state == "stopped")
        outcome = await asked(shop_)
        assert outcome.startswith(f"{ONE} stays as it is: baskets failed on position 2 (Added)")
        assert "goes on" not in outcome
        board = await shop_.views.leases.board()
        assert all("position 4" in row.trouble for row in board.lanes)


async def test_a_key_that_failed_is_not_taken_for_one_that_ended_the_process() -> None:
    """Whoever has its lane next, because this process is killed later, tries it again when asked."""
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.order("7"), shop.placed()), (shop.order("7"), shop.added("poison"))])
        await shop_.engine.caught_up()
        assert "stays as it is: baskets failed on position 2 (Added)" in await asked(shop_)
        number, leases = (await live(subject_of(shop_, shop.Baskets))).number, shop_.views.leases
        await leases.beat(Worker("next", "", frozenset([number])), 60.0, dead=[shop_.engine.worker])
        (held,) = await leases.claim("next", "baskets", number, [lane_of(str(ONE), 16)])
        assert held.attempt == 0


async def test_what_one_key_cannot_be_built_alone_is_refused(url: str) -> None:
    async with running(url, shop.Sales, shop.Baskets) as shop_:
        with pytest.raises(RebuildRefusedError, match=r"made of several streams each.*projection rebuild sales"):
            await Operator(subject_of(shop_, shop.Sales), "ada").rebuild_key(ONE, "", 1)
        with pytest.raises(RebuildRefusedError, match=r"generation .* was made by other code"):
            await Operator(subject_of(shop_, DoubleBaskets), "ada").rebuild_key(ONE, "", 1)
        await shop_.views.leases.ask_lane("sales", "rebuild", 0, key=str(ONE))
        await board_where(shop_.views, lambda board: not board.requests)
        (done,) = await shop_.views.leases.requests("sales")
        assert done.outcome == f"{ONE} stays as it is: its rows are made of other streams, too."


async def test_a_worker_that_ends_while_it_folds_a_key_again_takes_no_other_with_it(url: str) -> None:
    """Whoever has the lane next says so, and tries only when it is asked again."""
    key, lane = str(ONE), lane_of(str(ONE), 16)
    Harmful.is_mended = True
    await applied(url, Harmful, [*orders(1, first=7), (shop.order("7"), shop.added("exit"))])
    Harmful.is_mended = False
    async with running(url, is_started=False) as shop_:
        async with child("work", url, "isolated", "brief") as process:
            await board_where(shop_.views, lambda board: all(row.owner for row in board.lanes))
            await shop_.views.leases.ask_lane("harmful", "rebuild", lane, key=key)
            assert await process.wait() == 3
        async with child("work", url, "isolated", "brief") as process:
            await board_where(shop_.views, lambda board: not board.requests)
            assert process.returncode is None
        (done,) = await shop_.views.leases.requests("harmful")
        assert done.outcome.startswith(f"{key} stays as it is: the process ended while it was applied")
