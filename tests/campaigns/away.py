"""A broker that is away for minutes while commands go on: none waits, memory stays flat, nothing is lost (D1-D3)."""

import asyncio
import time
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from diptych import Aggregate, App, Command, DomainEvent, Repository, new_id, on
from diptych.reactions.messages import IntegrationEvent, IntegrationMessage
from diptych.reactions.nats import NatsPublisher
from diptych.reactions.publication import Publication
from tests.campaigns.brokers import STREAM, received
from tests.nats_servers import NatsCluster

CLIENTS: Final = 16
_TURNS: Final = 200  # commands to one stream before the next begins
_WARM: Final = 0.3  # of the time away: until then caches may fill
_PATIENCE: Final = 3600.0


class Counted(DomainEvent):
    """A counter went on."""

    value: int


class Count(Command):
    """Let a counter go on."""

    counter_id: UUID


class Counter(Aggregate):
    """Counts commands."""

    value: int = 0

    def count(self) -> None:
        """Go on."""
        self.record(Counted(value=self.value + 1))

    @on
    def _counted(self, event: Counted) -> None:
        self.value = event.value


class CountedForOthers(IntegrationEvent, name="counter.counted"):
    """What others are told."""

    value: int


class Endured(NamedTuple):
    """What came of it. Memory in MB: when the caches were full, at the end of the time away, and once it caught up."""

    before: float  # commands a second while the broker is there
    away: float  # and while it is not
    commands: int
    warm: float
    end: float
    caught_up: float


async def endure(url: str, cluster: NatsCluster, seconds: float, tell: Callable[[str], None] = print) -> Endured:
    """Let commands go on while all servers are away for so long, then hold what arrived against what was stored.

    :raises AssertionError: a message is lost, doubled or out of its order.
    """
    app = counting(url, NatsPublisher(cluster.urls, STREAM, seconds=2.0))
    async with app:
        done = Counts[UUID]()
        before = await _work(app, done, seconds / 10)
        await app.settled(_PATIENCE)
        for server in cluster.servers:
            server.kill()
        tell(f"{done.total():,} commands, {before:,.0f} a second; now the broker goes away")
        first = await _work(app, done, seconds * _WARM)
        warm = megabytes()
        second = await _work(app, done, seconds * (1 - _WARM))
        end = megabytes()
        tell(f"{done.total():,} commands, {second:,.0f} a second; now it comes back")
        for server in cluster.servers:
            server.start()
        await app.settled(_PATIENCE)
        caught_up = megabytes()
    judge(done, await received(cluster.urls))
    return Endured(before, first * _WARM + second * (1 - _WARM), done.total(), warm, end, caught_up)


def counting(url: str, publisher: NatsPublisher) -> App:
    """A service that tells others of each command."""
    app, counts = App(url), Publication("counts", source="/counters")

    @app.command_handler
    async def go_on(command: Count, counters: Repository[Counter]) -> None:
        (await counters.get_or_new(command.counter_id)).count()

    @counts.event
    def counted(event: Counted) -> CountedForOthers:
        return CountedForOthers(value=event.value)

    app.publish(counts, publisher)
    return app


async def _work(app: App, done: Counts[UUID], seconds: float) -> float:
    """Dispatch as fast as the clients can, and return how many commands that were in a second."""
    began, first = time.monotonic(), done.total()

    async def client() -> None:
        id = new_id()
        for turn in count(1):
            await app.commands.dispatch(Count(counter_id=id))
            done[id] += 1
            if time.monotonic() - began > seconds:
                return
            if turn % _TURNS == 0:
                id = new_id()

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
    return (done.total() - first) / (time.monotonic() - began)


def judge(done: Mapping[UUID, int], found: Sequence[IntegrationMessage]) -> None:
    """Hold what arrived against the commands. :raises AssertionError:"""
    values: dict[str, list[str]] = {}
    seen: set[UUID] = set()
    for each in found:
        if each.id not in seen:
            seen.add(each.id)
            values.setdefault(each.key, []).append(each.data)
    expected = {str(id): times for id, times in done.items()}
    lost = {key for key, times in expected.items() if len(values.get(key, ())) != times}
    assert not lost, f"of {len(lost)} of {len(expected)} counters messages are lost or too many"
    for key, times in expected.items():
        assert values[key] == [f'{{"value":{value}}}' for value in range(1, times + 1)], f"{key} is out of order"


def megabytes() -> float:
    """The memory of this process now; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
