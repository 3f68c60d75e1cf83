"""What operators ask of a build that stands, beside rows that are read, is done by whoever builds it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from diptych.app.operating import Operator
from diptych.errors import BuildStoppedError, NotFoundError
from diptych.subscriptions.lanes import lane_of
from tests.projections import shop
from tests.projections.harmful import until
from tests.projections.rebuilds import FROZEN, KEEPING, Decided, StrictBySql, orders, rebuild, subject_of
from tests.projections.running import Running, applied, running
from tests.projections.shop import Basket, HandWritten
from tests.urls import url_for

pytestmark = pytest.mark.anyio

NAME = "sales_by_sql"
KEY = str(shop.order("1").id)


class Newer(shop.Baskets, name="baskets", version=2):
    """The same rows by other code."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.fixture(autouse=True)
def unmended() -> Iterator[None]:
    StrictBySql.is_mended = shop.Baskets.is_mended = False
    yield
    StrictBySql.is_mended = shop.Baskets.is_mended = False


@asynccontextmanager
async def standing(url: str) -> AsyncIterator[tuple[Running, Operator]]:
    """Run code that builds its rows anew and stops at position 11 of 12; rows of other code are read meanwhile."""
    await applied(url, shop.SalesBySql, orders(4))
    async with running(url, StrictBySql, rules=KEEPING) as shop_:
        await stands_at(shop_, 11)
        yield shop_, Operator(subject_of(shop_, StrictBySql), "ada")


async def stands_at(shop_: Running, position: int) -> None:
    why = f"and that stopped: sales_by_sql failed on position {position} "
    await until(lambda: why in (shop_.engine.progress[NAME].error or ""))


async def is_read(shop_: Running) -> None:
    await until(lambda: shop_.engine.progress[NAME].state == "running")
    await shop_.engine.caught_up()


async def lines(shop_: Running) -> dict[str, int]:
    return {product: row.lines for product, row in (await shop_.rows(HandWritten)).items()}


async def test_a_build_that_stands_goes_on_when_asked(url: str) -> None:
    """It stood until the process was started anew, though what failed may be no matter of code."""
    async with standing(url) as (shop_, operator):
        assert "diptych projection retry sales_by_sql" in (shop_.engine.progress[NAME].error or "")
        StrictBySql.is_mended = True
        (done,) = await operator.ask("retry", reason="the other database is back", within=10)
        assert done.outcome == "Nothing is parked here. It goes on."
        await is_read(shop_)
        assert (await lines(shop_))["thing 3"] == 2


async def test_an_event_that_stopped_a_build_is_left_out_and_the_build_goes_on(url: str) -> None:
    async with standing(url) as (shop_, operator):
        (done,) = await operator.ask("skip", position=11, reason="it was a joke", within=10)
        assert done.outcome == "Position 11 is left out for ever. It goes on."
        await stands_at(shop_, 12)
        (last,) = await operator.ask("skip", position=12, reason="another one", within=10)
        assert last.outcome == "Position 12 is left out for ever. It goes on."
        await is_read(shop_)
        assert "thing 3" not in await lines(shop_)
        assert list(await shop_.views.parked(NAME)) == []


async def test_an_event_that_stopped_no_build_is_not_left_out(url: str) -> None:
    async with standing(url) as (_, operator):
        (done,) = await operator.ask("skip", position=12, reason="by mistake", within=10)
        assert done.outcome.endswith("(position 11 did). It is not left out.")
        with pytest.raises(NotFoundError, match="no lane stands before position 1"):
            await operator.ask("skip", position=1, reason="by mistake", within=10)


async def test_what_is_asked_of_a_build_that_is_dropped_is_answered(url: str) -> None:
    async with standing(url) as (shop_, _):
        board = await shop_.views.leases.board()
        (number,) = [one.number for one in board.generations if one.state == "building"]
    async with running(url, StrictBySql, is_started=False) as shop_:
        leases = shop_.views.leases
        (asked,) = await leases.ask_generation(number, "retry")
        assert [one.id for one in (await leases.board()).requests] == [asked.id]
        await shop_.views.generations.drop(NAME, number)
        assert list((await leases.board()).requests) == []
        (answered,) = await leases.requests(NAME)
        assert answered.outcome == f"Generation {number} is gone."


async def test_what_a_rebuild_left_before_an_event_is_asked_of_the_next_one(url: str) -> None:
    """Between two rebuilds nobody has the lanes: the word waits."""
    await applied(url, shop.SalesBySql, orders(4))
    async with running(url, StrictBySql, rules=FROZEN) as shop_:
        subject = subject_of(shop_, StrictBySql)
        operator = Operator(subject, "ada")
        for position in (11, 12):
            with pytest.raises(BuildStoppedError, match=f"position {position}"):
                await rebuild(subject)
            (asked,) = await operator.ask("skip", position=position, reason="it was a joke", within=0)
            assert asked.outcome == ""
        done = await rebuild(subject)
        assert done.is_swapped
        assert "thing 3" not in await lines(shop_)
        outcomes = [one.outcome for one in await shop_.views.leases.requests(NAME, verb="skip")]
        assert outcomes == [f"Position {position} is left out for ever. It goes on." for position in (12, 11)]


async def test_what_a_rebuild_parked_is_left_out_by_the_next_one(url: str) -> None:
    await applied(url, shop.Baskets, orders(2))
    async with running(url, Newer, rules=FROZEN) as shop_:
        subject = subject_of(shop_, Newer)
        await shop_.append([(shop.order("1"), shop.added("poison")), (shop.order("1"), shop.added("pen"))])
        made = await rebuild(subject, Decided(swaps=False))
        assert made.parked == 1
        (asked,) = await Operator(subject, "ada").ask("skip", position=7, reason="it was a joke", within=0)
        assert (asked.generation, asked.lane, asked.outcome) == (made.new.number, lane_of(KEY, 16), "")
        done = await rebuild(subject)
        assert (done.is_swapped, done.parked, done.new.number) == (True, 0, made.new.number)
        (answered,) = await shop_.views.leases.requests("baskets", verb="skip")
        assert answered.outcome == f"Position 7 is left out for ever. {KEY}: 1 event is applied."
        assert (await shop_.rows(Basket))[shop.order("1").id].items == 3
