"""A server that is restarted, killed and paused, and a network that stalls and cuts, under people who use the bank."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Final

from tests.campaigns.bank import bank
from tests.campaigns.bankers import Bankers
from tests.campaigns.client import InMemory, whole_log
from tests.campaigns.history import History, Read
from tests.campaigns.stores import store_at
from tests.campaigns.torture import HOURS, Plan, Torture, assert_true, send_unknown_again
from tests.postgres import Server
from tests.postgres_servers.proxy import Proxy, proxied

_CLIENTS: Final = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
Outage = Callable[[Server, Proxy], Awaitable[None]]


async def _restart(server: Server, proxy: Proxy) -> None:
    """As an administrator does: sessions are told."""
    server.stop()
    await _away(server, 0.1)


async def _crash(server: Server, proxy: Proxy) -> None:
    """Without good-bye; the server recovers from its log."""
    server.stop(signal.SIGQUIT)
    await _away(server, 0.1)


async def _kill(server: Server, proxy: Proxy) -> None:
    """The server and all its sessions at once, and it stays away for a while."""
    server.kill()
    await _away(server, 0.3)


async def _away(server: Server, seconds: float) -> None:
    """Start it after a while; not from another thread, with which it would end."""
    await asyncio.sleep(seconds)
    server.start()


async def _pause(server: Server, proxy: Proxy) -> None:
    """Nothing answers, and no connection is cut."""
    server.pause()
    await asyncio.sleep(0.5)
    server.resume()


async def _end_sessions(server: Server, proxy: Proxy) -> None:
    """Every session is ended by an administrator, whatever it does."""
    await asyncio.to_thread(server.query, f"SELECT pg_terminate_backend(pid) {_CLIENTS}")


async def _cancel_statements(server: Server, proxy: Proxy) -> None:
    """Every statement that runs is cancelled by an administrator."""
    for _ in range(10):
        await asyncio.to_thread(server.query, f"SELECT pg_cancel_backend(pid) {_CLIENTS}")


async def _cut(server: Server, proxy: Proxy) -> None:
    """Every connection is reset."""
    proxy.cut()
    await asyncio.sleep(0)


async def _stall(server: Server, proxy: Proxy) -> None:
    """Nothing gets through; then everything does."""
    proxy.stall()
    await asyncio.sleep(0.5)
    proxy.resume()


async def _stall_and_cut(server: Server, proxy: Proxy) -> None:
    """Nothing gets through; then what was on its way is lost."""
    proxy.stall()
    await asyncio.sleep(0.3)
    proxy.cut()
    proxy.resume()


async def _refuse(server: Server, proxy: Proxy) -> None:
    """Every connection is reset, and new ones too, for a while."""
    proxy.is_refusing = True
    proxy.cut()
    await asyncio.sleep(0.5)
    proxy.resume()


async def _lose_answers(server: Server, proxy: Proxy) -> None:
    """What the server says to writers is lost: most of it, that their commit was done."""
    proxy.loses_answers = True
    await asyncio.sleep(0.2)
    proxy.resume()


OUTAGES: Final[Mapping[str, Outage]] = {
    "restart": _restart,
    "crash": _crash,
    "kill": _kill,
    "pause": _pause,
    "ended sessions": _end_sessions,
    "cancelled statements": _cancel_statements,
    "cut": _cut,
    "stall": _stall,
    "stall and cut": _stall_and_cut,
    "refused connections": _refuse,
    "lost answers": _lose_answers,
}
_MARK: Final = b"append_events"


async def banking_through(server: Server, schema: str, outages: list[str], random: Random) -> str:
    """After each of these outages the app goes on by itself; in the end everything is there, once."""
    async with proxied(server, mark=_MARK) as proxy, bank(proxy.url(schema=schema)) as app:
        bankers = Bankers(app, 8)
        async with asyncio.TaskGroup() as group:
            group.create_task(bankers.work())
            for name in outages:
                await bankers.has_more(random.randrange(5, 60))
                await OUTAGES[name](server, proxy)
                await bankers.has_more(10)
            bankers.is_over = True
        await bankers.send_again(random)
        return await bankers.check()


async def torture_through(server: Server, schema: str, outages: list[str], plan: Plan) -> str:
    """Clients and readers of one event store, whose history is judged as a whole; `plan.seconds` between outages."""
    recorder, reads = InMemory(), list[Read]()
    async with proxied(server, mark=_MARK) as proxy:
        store = store_at(proxy.url(schema=schema))
        await store.open()
        try:
            torture = Torture(store, replace(plan, seconds=HOURS), recorder, reads.append)
            async with asyncio.TaskGroup() as group:
                group.create_task(torture.run())
                for name in outages:
                    await asyncio.sleep(plan.seconds)
                    await OUTAGES[name](server, proxy)
                await asyncio.sleep(plan.seconds)
                torture.end()
            await send_unknown_again(store, recorder)
            return assert_true(History(recorder.operations, reads, await whole_log(store)))
        finally:
            await store.close()
