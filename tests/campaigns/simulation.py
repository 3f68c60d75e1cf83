"""An honest store, its clients and its readers, played in simulated time: true histories to plant faults into."""

import heapq
from collections.abc import Callable
from random import Random

from tests.campaigns.history import (
    ANY_VERSION,
    NO_STREAM_YET,
    SOME_VERSION,
    Entry,
    History,
    Operation,
    Read,
    Write,
)


class Simulation:
    """Clients append and readers poll; each step takes effect at one moment between its begin and its end."""

    def __init__(self, seed: int, *, clients: int = 4, readers: int = 2, streams: int = 3, seconds: int = 400) -> None:
        self.random = Random(seed)
        self.history = History()
        self._streams = [f"s{number}" for number in range(streams)]
        self._versions: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._cursors: dict[str, int] = {}
        self._used: list[str] = []
        self._queue: list[tuple[int, int, Callable[[int], None]]] = []
        self._count = 0
        self._end = seconds
        for number in range(clients):
            self._at(self.random.randrange(10), self._client(f"c{number}"))
        for number in range(readers):
            self._at(self.random.randrange(10), self._reader(f"r{number}"))

    def run(self) -> History:
        """Play until the time is over and everything begun has ended."""
        while self._queue:
            time, _, step = heapq.heappop(self._queue)
            step(time)
        return self.history

    def _at(self, time: int, step: Callable[[int], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (time * 1000 + self._count % 1000, self._count, step))

    def _delay(self) -> int:
        return self.random.randrange(1, 8)

    def _client(self, name: str) -> Callable[[int], None]:
        def begin(time: int) -> None:
            if time > self._end * 1000:
                return
            operation = Operation(name, time, self._writes(), self._command())
            self.history.operations.append(operation)
            self._at(time // 1000 + self._delay(), lambda now: self._effect(operation, now))
            self._at(time // 1000 + 20, begin)

        return begin

    def _writes(self) -> tuple[Write, ...]:
        streams = self.random.sample(self._streams, self.random.choice([1, 1, 1, 2]))
        return tuple(Write(stream, self._expected(stream), self._events()) for stream in streams)

    def _expected(self, stream: str) -> int:
        known = self._versions.get(stream, 0)
        return self.random.choice([known, known, known, ANY_VERSION, SOME_VERSION, NO_STREAM_YET])

    def _events(self) -> tuple[str, ...]:
        self._count += 3
        return tuple(f"e{self._count + number}" for number in range(self.random.choice([1, 1, 2, 3])))

    def _command(self) -> str | None:
        if self._used and self.random.random() < 0.15:
            return self.random.choice(self._used[-6:])
        if self.random.random() < 0.5:
            return None
        self._used.append(f"k{len(self._used)}")
        return self._used[-1]

    def _effect(self, operation: Operation, time: int) -> None:
        if self.random.random() < 0.05:
            return  # the request never arrived, and the client never learns
        is_silent = self.random.random() < 0.05
        answer = self._decide(operation)
        if not is_silent:
            self._at(time // 1000 + self._delay(), lambda now: self._answer(operation, answer, now))

    def _decide(self, operation: Operation) -> Callable[[Operation], None]:
        if operation.command in self._done:
            position = self._done[operation.command or ""]
            return lambda one: _set(one, outcome="duplicate", position=position)
        for write in operation.writes:
            actual = self._versions.get(write.stream, 0)
            wanted = {ANY_VERSION: True, SOME_VERSION: actual > 0}.get(write.expected, write.expected == actual)
            if not wanted:
                facts = {"conflict_stream": write.stream, "conflict_actual": actual}
                return lambda one: _set(one, outcome="conflict", **facts)
        for write in operation.writes:
            for event in write.events:
                version = self._versions.get(write.stream, 0) + 1
                self._versions[write.stream] = version
                self.history.log.append(Entry(len(self.history.log) + 1, write.stream, version, event))
        position = len(self.history.log)
        versions = tuple(self._versions[write.stream] for write in operation.writes)
        if operation.command is not None:
            self._done[operation.command] = position
        return lambda one: _set(one, outcome="stored", position=position, versions=versions)

    def _answer(self, operation: Operation, answer: Callable[[Operation], None], time: int) -> None:
        operation.finished = time
        answer(operation)

    def _reader(self, name: str) -> Callable[[int], None]:
        def begin(time: int) -> None:
            if time <= self._end * 1000:
                self._at(time // 1000 + self._delay(), lambda now: self._read(name, time, now))
                self._at(time // 1000 + 12, begin)

        return begin

    def _read(self, name: str, invoked: int, time: int) -> None:
        after, head = self._cursors.get(name, 0), len(self.history.log)
        events = tuple((entry.position, entry.event_id) for entry in self.history.log[after : after + 10])
        scanned = after + len(events)
        self._cursors[name] = scanned
        self.history.reads.append(Read(name, invoked, time, after, scanned, head, events))


def _set(operation: Operation, **facts: object) -> None:
    for name, value in facts.items():
        setattr(operation, name, value)
