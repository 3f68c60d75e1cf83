"""Code that does not fit the rows builds them again beside the old ones, or leaves them be; old and new get along."""

from pathlib import Path
from typing import Annotated, Any

import pytest

from diptych.errors import StaleReadError
from diptych.events.codec import Codec
from diptych.handlers import on
from diptych.messages import DomainEvent, Metadata
from diptych.projections.projection import Projection
from diptych.projections.site import Rules
from diptych.read.models import Key, ReadModel
from diptych.store.generations import Generation
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY
from tests.projections import shop
from tests.projections.harmful import board_where, owners, until
from tests.projections.running import FAST, Running, running
from tests.projections.shop import Added
from tests.urls import url_for

pytestmark = pytest.mark.anyio

FROZEN = FAST._replace(on_change="freeze")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


class Tally(ReadModel):
    product: Annotated[str, Key]
    total: int


class Tallies(Projection[Tally], name="tallies"):
    @on(key="product")
    def added(self, row: Tally | None, event: Added) -> Tally:
        return Tally(product=event.product, total=(row.total if row else 0) + event.quantity)


class Doubled(Projection[Tally], name="tallies", version=2):
    @on(key="product")
    def added(self, row: Tally | None, event: Added) -> Tally:
        return Tally(product=event.product, total=(row.total if row else 0) + 2 * event.quantity)


class Tripled(Projection[Tally], name="tallies"):
    """The version of the first, and other code."""

    @on(key="product")
    def added(self, row: Tally | None, event: Added) -> Tally:
        return Tally(product=event.product, total=(row.total if row else 0) + 3 * event.quantity)


def reshaped() -> tuple[type[Projection[Any]], type[ReadModel]]:
    class Tally(ReadModel):
        product: Annotated[str, Key]
        total: int
        last: str

    class Tallies(Projection[Tally], name="tallies"):
        @on(key="product")
        def added(self, row: Tally | None, event: Added, meta: Metadata) -> Tally:
            total = (row.total if row else 0) + event.quantity
            return Tally(product=event.product, total=total, last=str(meta.stream.id))

    return Tallies, Tally


async def filled(url: str, events: int = 30) -> None:
    """Rows of the first version."""
    async with running(url, Tallies) as shop_:
        await shop_.append([(shop.order(str(n)), shop.added()) for n in range(events)])
        await shop_.engine.caught_up()


async def pens(shop_: Running) -> int:
    total: int = (await shop_.rows(Tally))["pen"].total
    return total


async def states(shop_: Running) -> list[tuple[int, str]]:
    return [(one.number, one.state) for one in await shop_.views.generations.all("tallies")]


async def test_a_raised_version_is_built_beside_and_then_read(url: str) -> None:
    await filled(url)
    async with running(url, Doubled) as shop_:
        await shop_.engine.caught_up()
        assert await pens(shop_) == 60
        assert await states(shop_) == [(1, "kept"), (2, "live")]
        assert (await shop_.views.generations.all("tallies"))[1].is_indexed
        await shop_.append([(shop.order("1"), shop.added())])
        await shop_.engine.caught_up()
        assert await pens(shop_) == 62
        assert shop_.engine.progress["tallies"].generation == 2


async def test_another_shape_is_built_beside_and_then_read(url: str) -> None:
    await filled(url)
    projection, model = reshaped()
    async with running(url, projection) as shop_:
        await shop_.engine.caught_up()
        rows = await shop_.rows(model)
        assert {key: (row.total, row.last) for key, row in rows.items()} == {"pen": (30, str(shop.order("29").id))}


async def test_frozen_rows_stay_as_they_are_and_the_command_is_named(url: str) -> None:
    await filled(url)
    async with running(url, Doubled, rules=FROZEN) as shop_:
        await shop_.append([(shop.order("1"), shop.added())])
        with pytest.raises(StaleReadError, match=r"tallies: still frozen .*Type `diptych projection rebuild tallies`"):
            await shop_.engine.caught_up()
        progress = shop_.engine.progress["tallies"]
        assert progress.state == "frozen"
        assert "made by version 1 of other code" in str(progress.error)
        assert await pens(shop_) == 30
        assert await states(shop_) == [(1, "live")]


async def test_old_and_new_code_side_by_side_do_not_build_against_each_other(url: str) -> None:
    """A rolling deploy: the new one builds and swaps, the old one then follows it, and builds nothing."""
    await filled(url)
    async with running(url, Tallies) as old:
        async with running(url, Doubled) as new:
            await until(lambda: new.engine.progress["tallies"].generation == 2)
            assert await pens(new) == 60
            await until(lambda: old.engine.progress["tallies"].generation == 2)
            last = await old.append([(shop.order("1"), shop.added())])
            assert await old.engine.progress["tallies"].wait_for(last.position, 5.0)
            assert await pens(old) == 62
            assert old.engine.progress["tallies"].state == "running"
        await until(lambda: old.engine.progress["tallies"].state == "frozen")
        assert "or `diptych projection rollback tallies` for generation 1" in str(old.engine.progress["tallies"].error)
        await old.engine.look()
        assert await states(old) == [(1, "kept"), (2, "live")]


async def test_a_roll_back_is_followed_by_the_old_code_and_not_undone_by_the_new(url: str) -> None:
    await filled(url)
    async with running(url, Tallies) as old, running(url, Doubled) as new:
        await until(lambda: new.engine.progress["tallies"].generation == 2)
        await new.append([(shop.order("1"), shop.added())])
        await new.engine.caught_up()
        await new.views.generations.swap("tallies", 1)
        await until(lambda: old.engine.progress["tallies"].generation == 1)
        await old.engine.caught_up()
        assert await pens(new) == 31
        await until(lambda: new.engine.progress["tallies"].generation == 1)
        await new.engine.look()
        assert await states(new) == [(1, "live"), (2, "kept")]


async def test_what_is_not_read_any_more_is_dropped_after_a_time(url: str) -> None:
    await filled(url)
    async with running(url, Doubled, rules=FAST._replace(pace=FAST.pace._replace(keep=0.1))) as shop_:
        await shop_.engine.caught_up()
        found: list[Generation] = []
        while [one.number for one in found] != [2]:
            await shop_.engine.look()
            found = list(await shop_.views.generations.all("tallies"))
        assert await pens(shop_) == 60


async def test_a_build_goes_on_where_it_was_interrupted(url: str) -> None:
    await filled(url, 60)
    slow = FAST._replace(pace=FAST.pace._replace(page_events=2))
    async with running(url, Doubled, rules=slow) as shop_:
        await board_where(
            shop_.views, lambda board: any(r.generation == 2 and r.checkpoint.position for r in board.lanes)
        )
    async with running(url, Doubled) as shop_:
        await shop_.engine.caught_up()
        assert await states(shop_) == [(1, "kept"), (2, "live")]
        assert await pens(shop_) == 120


async def test_other_methods_are_built_again_in_development_and_reported_in_production(url: str) -> None:
    await filled(url)
    async with running(url, Tripled) as shop_:
        await shop_.engine.caught_up()
        assert await pens(shop_) == 30
        choice = shop_.engine.followings["tallies"].choice
        assert choice.is_fitting
        assert choice.live is not None
        assert choice.live.code != shop_.engine.async_tables[0].code
    async with running(url, Tripled, rules=FAST._replace(is_development=True)) as shop_:
        await until(lambda: shop_.engine.progress["tallies"].generation == 2)
        await shop_.engine.caught_up()
        assert await pens(shop_) == 90


@pytest.mark.parametrize("rules", [FAST, FROZEN])
async def test_an_inline_projection_of_another_version(url: str, rules: Rules) -> None:
    """It is built again before the start returns, and appends carry it; frozen, they leave it as it is."""
    async with running(url, (Tallies, "inline")) as shop_:
        await shop_.append([(shop.order("1"), shop.added())] * 3)
    async with running(url, (Doubled, "inline"), rules=rules) as shop_:
        await shop_.append([(shop.order("1"), shop.added())])
        rows = await shop_.rows(Tally, shop_.events.inline)
        assert rows["pen"].total == (3 if rules is FROZEN else 8)
        assert shop_.engine.progress["tallies"].state == ("frozen" if rules is FROZEN else "running")


class AddedLater(DomainEvent, name="generations.added_later"):
    pass


class Older(Codec):
    """That of code which was written before that event."""

    def knows(self, name: str) -> bool:
        return name != AddedLater.event_name and super().knows(name)


class Futures(Projection[shop.HandWritten], name="futures"):
    @on(key=lambda event, meta: "x")
    def seen(self, row: shop.HandWritten | None, event: AddedLater) -> shop.HandWritten:
        return shop.HandWritten(product="x", lines=1)


async def test_what_this_code_does_not_know_is_left_to_code_that_does(url: str) -> None:
    """I2: the lease is given up, and nothing is parked or skipped; when nobody knows it, it says so."""
    async with running(url, shop.Baskets, codec=Older()) as old:
        await old.append([(shop.order("1"), shop.placed())])
        await old.engine.caught_up()
        progress = old.engine.progress["baskets"]
        async with running(url, shop.Baskets, Futures) as new:
            unknown = new.codec.encode(AddedLater())
            await old.events.append(Append([StreamWrite(shop.order("1"), ANY, [unknown])]))
            last = await old.append([(shop.order(str(n)), shop.placed()) for n in range(2, 40)])
            await board_where(new.views, lambda board: set(owners(board, "baskets")) == {new.engine.worker})
            assert await new.engine.progress["baskets"].wait_for(last.position, 5.0)
            assert await progress.wait_for(last.position, 5.0)
            assert len(await old.rows(shop.Basket)) == 39
            await until(lambda: progress.state == "running")
        await until(lambda: progress.state == "stopped")
        assert "Position 2 holds a generations.added_later v1 which this code does not know" in str(progress.error)
        assert await old.views.parked("baskets") == []
