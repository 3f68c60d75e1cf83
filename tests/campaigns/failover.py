"""The primary is killed under load, its synchronous standby promoted, and whatever got no answer is sent again."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from random import Random
from typing import Any, Final

from tests.campaigns.bank import bank
from tests.campaigns.bankers import Bankers
from tests.campaigns.client import InMemory, whole_log
from tests.campaigns.history import History, Read
from tests.campaigns.stores import store_at
from tests.campaigns.torture import HOURS, Plan, Torture, assert_true, send_unknown_again
from tests.postgres_servers.pair import Pair

_WAITING: Final = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


async def banking_over_fail_overs(
    pair: Pair, rounds: int, random: Random, *, views: str | None = None, cut_off_every: int = 3
) -> str:
    """A whole app with its projections, which knows both servers. Every third time the standby was cut off.

    `views` is the URL of another server for the rows.
    """
    async with bank(pair.url(), views=views) as app:
        bankers = Bankers(app, 8)
        async with asyncio.TaskGroup() as group:
            group.create_task(bankers.work())
            for each in range(1, rounds + 1):
                await bankers.has_more(random.randrange(5, 60))
                if each % cut_off_every == 0:
                    await asyncio.to_thread(pair.cut_off)
                    await asyncio.sleep(random.uniform(0.0, 0.4))
                await asyncio.to_thread(pair.fail_over)
                await bankers.has_more(10)
                await bankers.send_again(random)
                await asyncio.to_thread(pair.renew)
            bankers.is_over = True
        return await bankers.check()


async def in_vain(pair: Pair, sending: Coroutine[Any, Any, str]) -> str:
    """Send, and have no commit wait for the standby, as an administrator or a deadline may; return the answer."""
    sent = asyncio.ensure_future(sending)
    while not sent.done():
        await asyncio.to_thread(pair.primary.query, f"SELECT pg_cancel_backend(pid) {_WAITING}")
    return await sent


async def torture_over_fail_overs(pair: Pair, rounds: int, plan: Plan) -> str:
    """Clients and readers of one event store, whose history is judged as a whole; `plan.seconds` between fail-overs."""
    store, recorder, reads = store_at(pair.url()), InMemory(), list[Read]()
    await store.open()
    try:
        torture = Torture(store, replace(plan, seconds=HOURS), recorder, reads.append)
        async with asyncio.TaskGroup() as group:
            group.create_task(torture.run())
            for each in range(1, rounds + 1):
                await asyncio.sleep(plan.seconds)
                if each % 3 == 0:
                    await asyncio.to_thread(pair.cut_off)
                    await asyncio.sleep(0.1)
                await asyncio.to_thread(pair.fail_over)
                await asyncio.to_thread(pair.renew)
            torture.end()
        await send_unknown_again(store, recorder)
        return assert_true(History(recorder.operations, reads, await whole_log(store)))
    finally:
        await store.close()
