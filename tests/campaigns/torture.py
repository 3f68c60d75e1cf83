"""Many clients and readers on one event store at once, with hot streams, cancelled tasks and commands sent again."""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from uuid import UUID

from diptych.clock import id_for, new_id
from diptych.errors import StoreError
from diptych.events.recorded import NewEvent
from diptych.store.protocols import EventStore
from diptych.stream import StreamName
from tests.campaigns.client import (
    RARE,
    Client,
    InFile,
    InMemory,
    Reader,
    Recorder,
    new_event,
    operations_in,
    stream_name,
    whole_log,
)
from tests.campaigns.history import (
    ANY_VERSION,
    NO_STREAM_YET,
    SOME_VERSION,
    History,
    Operation,
    Read,
    violations,
)
from tests.campaigns.stores import store_at

HOT_STREAMS = 3
COLD_STREAMS = 1000
HOURS = 1e6  # seconds, for a torture that somebody else ends


@dataclass(frozen=True, slots=True)
class Plan:
    """How hard and how long."""

    seconds: float = 3.0
    clients: int = 16
    readers: int = 3
    seed: int = 1
    outages: bool = False  # the store is away at times: whoever is told so tries again a moment later


class Torture:
    """Clients that share streams and command ids, each with its own belief of how long every stream is."""

    def __init__(self, store: EventStore, plan: Plan, recorder: Recorder, read: Callable[[Read], None]) -> None:
        self._store, self._plan, self._recorder, self._read = store, plan, recorder, read
        self._commands: deque[UUID] = deque(maxlen=8)
        self._deadline = time.monotonic() + plan.seconds

    async def run(self) -> None:
        """Return when time is over and every operation has ended, or was cancelled and left to the store."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._plan.clients):
                group.create_task(self._client(f"{self._plan.seed}.{number}", Random(self._plan.seed * 1000 + number)))
            for number in range(self._plan.readers):
                group.create_task(self._reader(f"{self._plan.seed}.r{number}", Random(number), number))

    def end(self) -> None:
        """Have time be over."""
        self._deadline = time.monotonic()

    async def _client(self, name: str, random: Random) -> None:
        client = Client(name, self._store, self._recorder)
        believed: dict[StreamName, int] = {}
        while time.monotonic() < self._deadline:
            writes = [(stream, self._belief(random, believed, stream), _events(random)) for stream in _streams(random)]
            task = asyncio.create_task(client.append(writes, self._command(random)))
            if random.random() < 0.04:
                await _cancel(task, random)
                continue
            operation = await task
            _learn(operation, [write[0] for write in writes], believed)
            if self._plan.outages and operation.outcome in ("refused", "unknown"):
                await asyncio.sleep(0.02)

    def _belief(self, random: Random, believed: dict[StreamName, int], stream: StreamName) -> int:
        if random.random() < 0.15:
            return random.choice([ANY_VERSION, ANY_VERSION, SOME_VERSION, NO_STREAM_YET])
        return believed.get(stream, 0)

    def _command(self, random: Random) -> UUID | None:
        chance = random.random()
        if self._commands and chance < 0.1:
            return random.choice(self._commands)
        if chance < 0.15:  # an id that other processes use at the same time
            return id_for("torture", str(time.monotonic_ns() // 20_000_000))
        if chance < 0.5:
            return None
        self._commands.append(new_id())
        return self._commands[-1]

    async def _reader(self, name: str, random: Random, number: int) -> None:
        reader = Reader(name, self._store, self._read, kind=RARE if number % 3 == 2 else "")
        while time.monotonic() < self._deadline:
            try:
                moved = await reader.read(random.choice([1, 7, 100, 1000]))
            except StoreError:
                if not self._plan.outages:
                    raise
                await asyncio.sleep(0.02)
                continue
            if not moved:
                await asyncio.sleep(0.0002)
            elif random.random() < 0.002:
                reader.after = random.randrange(reader.after)


def _streams(random: Random) -> list[StreamName]:
    count = 2 if random.random() < 0.1 else 1
    hot = random.random() < 0.25
    return [stream_name(n) for n in random.sample(range(HOT_STREAMS) if hot else range(COLD_STREAMS), count)]


def _events(random: Random) -> list[NewEvent]:
    return [new_event(random) for _ in range(random.choice([1, 1, 2, 5]))]


def _learn(operation: Operation, streams: Sequence[StreamName], believed: dict[StreamName, int]) -> None:
    for place, stream in enumerate(streams):
        if operation.outcome == "conflict" and operation.conflict_stream == str(stream):
            believed[stream] = operation.conflict_actual
        if operation.outcome == "stored":
            believed[stream] = operation.versions[place]


async def _cancel(task: "asyncio.Task[Operation]", random: Random) -> None:
    await asyncio.sleep(random.choice([0, 0, 0.0001, 0.001]))
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return


async def torture(store: EventStore, plan: Plan) -> History:
    """Open, torture, read everything back, close."""
    recorder, reads = InMemory(), list[Read]()
    await store.open()
    try:
        await Torture(store, plan, recorder, reads.append).run()
        return History(recorder.operations, reads, await whole_log(store))
    finally:
        await store.close()


async def torture_processes(url: str, folder: Path, processes: int, plan: Plan) -> History:
    """Several processes append to one store while this one reads it as fast as it can; they write into the folder."""
    store = store_at(url)
    await store.open()
    try:
        reads: list[Read] = []
        others = [await _start(url, folder, seed, plan) for seed in range(1, processes + 1)]
        await Torture(store, replace(plan, clients=0, seconds=plan.seconds + 1.5), InMemory(), reads.append).run()
        for process in others:
            status = await asyncio.wait_for(process.wait(), 60)
            assert status == 0, f"a torturing process ended with status {status}"
        history = History([], reads, await whole_log(store))
    finally:
        await store.close()
    for seed in range(1, processes + 1):
        history.operations += operations_in(folder / f"history-{seed}")
    return history


async def _start(url: str, folder: Path, seed: int, plan: Plan) -> asyncio.subprocess.Process:
    arguments = f"--seed {seed} --seconds {plan.seconds} --clients {plan.clients}".split()
    command = [sys.executable, "-m", "tests.campaigns", "torture-process", url, str(folder), *arguments]
    return await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2])


async def torture_into_file(url: str, folder: Path, plan: Plan) -> None:
    """One of several processes: append to the shared store and write down what happened."""
    store, recorder = store_at(url), InFile(folder / f"history-{plan.seed}")
    await store.open()
    try:
        await Torture(store, plan, recorder, lambda read: None).run()
    finally:
        await store.close()
        recorder.close()


async def send_unknown_again(store: EventStore, recorder: InMemory) -> None:
    """C3: a command whose answer was lost takes effect now, or took effect then; it is never refused."""
    client, random = Client("again", store, recorder), Random(1)
    for command in {each.command for each in recorder.operations if each.outcome == "unknown" and each.command}:
        event = new_event(random)
        again = await client.append([(stream_name(0), ANY_VERSION, [event])], UUID(command))
        assert again.outcome in ("stored", "duplicate"), f"command {command} was answered {again.outcome} (C3)"


def assert_true(history: History) -> str:
    """Judge a history. :raises AssertionError: with what it breaks. Returns one line about how much it saw."""
    broken = violations(history)
    assert not broken, f"{len(broken)} violations:\n" + "\n".join(f"{v.invariant}: {v.what}" for v in broken[:20])
    outcomes: dict[str, int] = {}
    for operation in history.operations:
        outcomes[operation.outcome] = outcomes.get(operation.outcome, 0) + 1
    listed = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    return f"{len(history.operations)} appends ({listed}), {len(history.reads)} pages read, {len(history.log)} events"
