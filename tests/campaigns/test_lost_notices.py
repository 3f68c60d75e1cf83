"""P6 on PostgreSQL: notices only make it quicker. With every one of them lost, polling sees each append."""

from random import Random

import pytest

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
