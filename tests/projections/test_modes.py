"""A projection that becomes inline, or asynchronous again, while processes of both codes run on one database."""

from pathlib import Path

import pytest

from tests.projections import shop
from tests.projections.rebuilds import FROZEN, differences, subject_of
from tests.projections.running import running
from tests.projections.shop import Basket
from tests.urls import url_for

pytestmark = pytest.mark.anyio
ONE = shop.order("1")


@pytest.fixture(params=["postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a file, inline rows are in another one."""
    return url_for(request, tmp_path)


async def test_an_append_of_a_process_where_it_is_inline_leaves_the_lanes_of_others_alone(url: str) -> None:
    """P1: in one database both find the same generation, whose lanes are not the one that an append moves."""
    async with running(url, shop.Baskets) as before:
        await before.append([(ONE, shop.placed()), (ONE, shop.added())])
        await before.engine.caught_up()
        async with running(url, (shop.Baskets, "inline"), rules=FROZEN) as after:
            await after.append([(ONE, shop.added())])
        await before.append([(ONE, shop.added())])
        await before.engine.caught_up()
        assert (await before.rows(Basket))[ONE.id].items == 3
        assert await differences(subject_of(before, shop.Baskets)) == []


async def test_an_append_of_a_process_where_it_was_inline_leaves_the_lanes_of_others_alone(url: str) -> None:
    """P1, the other way round: those who are still to be replaced append, and the lanes are there already."""
    async with running(url, (shop.Baskets, "inline")) as before:
        await before.append([(ONE, shop.placed()), (ONE, shop.added())])
        async with running(url, shop.Baskets) as after:
            await after.engine.caught_up()
            for _ in range(3):
                await before.append([(ONE, shop.added())])
                await after.engine.caught_up()
            assert (await after.rows(Basket))[ONE.id].items == 4
            assert await differences(subject_of(after, shop.Baskets)) == []
