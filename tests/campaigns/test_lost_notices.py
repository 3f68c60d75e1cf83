"""P6 on PostgreSQL: notices only make it quicker. With every one of them lost, polling sees each append."""

from decimal import Decimal
from random import Random

import pytest

from diptych.clock import new_id
from tests.campaigns.bank import PayIn, bank
from tests.campaigns.client import Client, InMemory, new_event, stream_name
from tests.campaigns.history import ANY_VERSION
from tests.campaigns.stores import store_at
from tests.postgres import Server
from tests.postgres_servers.proxy import proxied

pytestmark = [pytest.mark.anyio, pytest.mark.postgres, pytest.mark.slow]


async def test_each_append_is_seen_though_every_notice_is_lost(postgres: Server, postgres_url: str) -> None:
    """P6: a wait that only a notice ended would last ten seconds here, twenty times."""
    schema = postgres_url.rpartition("schema=")[2]
    async with proxied(postgres, drops_notifications=True) as proxy:
        here, there = store_at(postgres_url), store_at(proxy.url(schema=schema))
        await here.open()
        await there.open()
        client, random = Client("c", here, InMemory()), Random(1)
        for number in range(20):
            await client.append([(stream_name(number), ANY_VERSION, [new_event(random)])])
            await there.wait(number, 10)
            assert (await there.head()).position == number + 1
        await there.close()
        await here.close()

    assert proxy.dropped > 0


async def test_projections_reach_the_head_within_two_seconds_though_every_notice_is_lost(
    postgres: Server, postgres_url: str
) -> None:
    """P6: events of another process, then none any more."""
    schema = postgres_url.rpartition("schema=")[2]
    async with (
        proxied(postgres, drops_notifications=True) as proxy,
        bank(postgres_url) as here,
        bank(proxy.url(schema=schema)) as there,
    ):
        for number in range(5):
            await here.commands.dispatch(PayIn(account_id=new_id(), amount=Decimal(number + 1), branch="b"))
            await there.caught_up(2.0)
        assert {one.position for one in (await there.status()).projections} == {5}

    assert proxy.dropped > 0
