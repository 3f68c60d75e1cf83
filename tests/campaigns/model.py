"""An event store as a dict and a list, and a state machine that holds a real store against it."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from diptych.errors import CheckpointMovedError, InvalidInputError, RowChangedError, WrongExpectedVersionError
from diptych.events.recorded import NewEvent
from diptych.store.batches import LaneMove, Load, RowChanges, RowGuard, ViewBatch
from diptych.store.protocols import Append, Appended, CommandKey, CommandKeyTaken, CommandRecord, StreamWrite
from diptych.stream import ANY, NO_STREAM, STREAM_EXISTS, Expectation, Expected, StreamName, is_met
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally
from tests.campaigns.client import COMMON, RARE, entry_of, new_event, stream_name
from tests.campaigns.stores import Opened

T = TypeVar("T")
Refusal = tuple[type[Exception], Any]

STREAMS = st.integers(0, 3).map(stream_name)
EVENTS = st.lists(st.sampled_from([COMMON, COMMON, RARE]), max_size=4)
BELIEFS = st.sampled_from(["right", "right", "right", "behind", "ahead", ANY, NO_STREAM, STREAM_EXISTS])
WRITES = st.lists(st.tuples(STREAMS, BELIEFS, EVENTS), max_size=3, unique_by=lambda write: write[0])
IDS = st.integers(0, 5).map(lambda number: UUID(int=number))
COMMANDS = st.none() | IDS
LANES = st.integers(0, 1)
NAMES = st.sampled_from(["tea", "milk"])
MOVES = st.none() | st.tuples(LANES, st.sampled_from(["right", "right", "right", "ahead", "old epoch"]))
GUARDS = st.none() | st.tuples(NAMES, st.sampled_from(["right", "right", "right", "other", "absent"]))
BESIDE = st.none() | st.tuples(MOVES, GUARDS, NAMES, st.integers(0, 9))
DUTY = TALLIES._replace(lanes=2)


@dataclass(slots=True)
class Model:
    """What any event store must hold."""

    log: list[tuple[StreamName, NewEvent]] = field(default_factory=list)
    commands: dict[UUID, tuple[int, dict[StreamName, int], frozenset[str]]] = field(default_factory=dict)
    lanes: dict[int, LaneMove] = field(default_factory=dict)  # where each stands, and under which epoch
    rows: dict[str, int] = field(default_factory=dict)

    def stream(self, name: StreamName) -> list[NewEvent]:
        """The events of one stream."""
        return [event for stream, event in self.log if stream == name]

    def refuses(self, append: Append) -> list[Refusal]:
        """Every refusal that would be right, with what it must say is the case; none: it must be stored."""
        if append.command is not None and append.command.key.command_id in self.commands:
            return [(CommandKeyTaken, self.commands[append.command.key.command_id][0])]
        found: list[Refusal] = []
        for write in append.writes:
            actual = len(self.stream(write.stream))
            if not is_met(write.expected, actual):
                found.append((WrongExpectedVersionError, (write.stream, actual)))
        for move in () if append.beside is None else append.beside.moves:
            if self.lanes[move.lane] != move:
                found.append((CheckpointMovedError, self.lanes[move.lane].expected))
        for guard in () if append.beside is None else append.beside.guards:
            if self.rows.get(guard.key[0]) != guard.value:
                found.append((RowChangedError, guard.key))
        return found

    def store(self, append: Append) -> None:
        """Take it in."""
        for write in append.writes:
            self.log.extend((write.stream, event) for event in write.events)
        written = [write for write in append.writes if write.events]
        if append.command is not None:
            versions = {write.stream: len(self.stream(write.stream)) for write in written}
            types = frozenset(event.type for write in written for event in write.events)
            self.commands[append.command.key.command_id] = (len(self.log), versions, types)
        if append.beside is not None:
            for lane, epoch, _ in append.beside.moves:
                self.lanes[lane] = LaneMove(lane, epoch, append.beside.position)
            for changes in append.beside.changes:
                self.rows |= {row.name: row.total for row in changes.upserts}


class EventStoreMachine(RuleBasedStateMachine):
    """Appends, reads and reopens; after every step the store says what the model says. Subclasses open a store."""

    opened: Opened

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.random = Random(0)
        self.runner = asyncio.Runner()
        self.opened = self.open()
        self.run(self._begin)
        for lane in range(DUTY.lanes):
            self.model.lanes[lane] = LaneMove(lane, 0, 0)
            self.claim(lane)

    async def _begin(self) -> None:
        store = self.opened.store
        await store.open()
        await store.inline.open([DUTY], store_id=store.store_id)

    def open(self) -> Opened:
        """A store, not yet open, with nothing in it."""
        raise NotImplementedError

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await in the machine's own loop."""
        return self.runner.run(function())

    def teardown(self) -> None:
        """Close, and leave nothing behind."""
        self.run(self.opened.store.close)
        self.opened.remove()
        self.runner.close()

    @rule(writes=WRITES, command=COMMANDS, beside=BESIDE)
    def append(self, writes: list[Any], command: UUID | None, beside: Any) -> None:
        append = self._append_of(writes, command, beside)
        right = self.model.refuses(append)
        answer = self.run(lambda: self._answer(append))
        if not isinstance(answer, Appended):
            assert answer in right
            return
        assert right == [], f"stored, although {right}"
        self.model.store(append)
        assert answer.position == len(self.model.log)
        written = [write.stream for write in append.writes if write.events]
        assert list(answer.versions) == [len(self.model.stream(stream)) for stream in written]

    async def _answer(self, append: Append) -> Appended | Refusal:
        try:
            return await self.opened.store.append(append)
        except CommandKeyTaken as taken:
            return CommandKeyTaken, taken.stored.position
        except WrongExpectedVersionError as conflict:
            return WrongExpectedVersionError, (conflict.stream, conflict.actual)
        except CheckpointMovedError as moved:
            return CheckpointMovedError, moved.actual
        except RowChangedError as changed:
            return RowChangedError, changed.key

    def _append_of(self, writes: list[Any], command: UUID | None, beside: Any) -> Append:
        made = [
            StreamWrite(stream, self._expected(stream, belief), [new_event(self.random, kind) for kind in kinds])
            for stream, belief, kinds in writes
        ]
        record = None if command is None else CommandRecord(_key(command), command.bytes, json.dumps(str(command)))
        batch = None if beside is None else self._beside(*beside)
        return Append(made, metadata='{"user":"ada"}', command=record, beside=batch)

    def _beside(self, move: tuple[int, str] | None, guard: tuple[str, str] | None, name: str, total: int) -> ViewBatch:
        """A row, a lane that moves to the end of the log, and a row that it rests on, rightly believed or not."""
        moves, guards, log = [], [], self.model.log
        if move is not None:
            lane, belief = move
            number, epoch, at = self.model.lanes[lane]
            moves.append(LaneMove(number, epoch - (belief == "old epoch"), at + (belief == "ahead")))
        if guard is not None:
            rests_on, belief = guard
            there = self.model.rows.get(rests_on)
            value = {"right": there, "other": (there or 0) + 1, "absent": None}[belief]
            guards.append(RowGuard(TALLY, (rests_on,), "" if value is None else "total", value))
        place = (len(log), log[-1][1].event_id if log else b"")
        changes = [RowChanges(TALLY, [Tally(name=name, total=total)])]
        return ViewBatch(DUTY.name, 1, moves, *place, changes=changes, guards=guards)

    @rule(lane=LANES)
    def claim(self, lane: int) -> None:
        """P5: under each claim a lane has another epoch, and stands where it stood."""
        before = self.model.lanes[lane]
        (held,) = self.run(lambda: self.opened.store.inline.leases.claim("worker", DUTY.name, 1, [lane]))
        assert (held.lane, held.epoch, held.checkpoint.position) == before._replace(epoch=before.epoch + 1)
        self.model.lanes[lane] = before._replace(epoch=held.epoch)

    def _expected(self, stream: StreamName, belief: str | Expectation) -> Expected:
        actual = len(self.model.stream(stream))
        if isinstance(belief, Expectation):
            return belief
        return {"right": actual, "behind": max(actual - 1, 0), "ahead": actual + 1}[belief]

    @rule(stream=STREAMS, first=st.integers(1, 6))
    def read_stream(self, stream: StreamName, first: int) -> None:
        rows = self.run(lambda: self.opened.store.read_stream(stream, first=first))
        assert [row.event_id for row in rows] == [event.event_id for event in self.model.stream(stream)[first - 1 :]]
        assert [row.version for row in rows] == list(range(first, first + len(rows)))

    @rule(after=st.integers(0, 40), limit=st.sampled_from([1, 3, 1000]), rare=st.booleans())
    def read_log(self, after: int, limit: int, rare: bool) -> None:
        types = frozenset({RARE, "Never"}) if rare else None
        page = self.run(lambda: self.opened.store.read_log(after=after, types=types, limit=limit))
        expected = [
            (position, event)
            for position, (_, event) in enumerate(self.model.log, start=1)
            if position > after and (not rare or event.type == RARE)
        ]
        assert [row.position for row in page.events] == [position for position, _ in expected[:limit]]
        assert page.head.position == len(self.model.log)
        assert page.after == after
        complete = len(expected) < limit
        assert page.scanned == (max(after, len(self.model.log)) if complete else page.scanned)
        assert not page.events or page.scanned >= page.events[-1].position
        assert all(position > page.scanned for position, _ in expected[limit:])

    @rule(after=st.integers(0, 40), limit=st.sampled_from([1, 3, 1000]), cut=st.integers(1, 1023), is_low=st.booleans())
    def read_slices(self, after: int, limit: int, cut: int, is_low: bool) -> None:
        slices, head = range(cut) if is_low else range(cut, 1024), len(self.model.log)
        page = self.run(lambda: self.opened.store.read_slices(after=after, slices=slices, limit=limit))
        assert (page.after, page.head.position, len(page.events) <= limit) == (after, head, True)
        assert after < page.scanned <= head or page.scanned == after >= head
        assert [row.event_id for row in page.events] == [
            event.event_id for stream, event in self.model.log[after : page.scanned] if stream.slice in slices
        ]
        assert after >= head or page.last.event_id == self.model.log[page.scanned - 1][1].event_id

    @rule(command=IDS)
    def find_command(self, command: UUID) -> None:
        stored = self.run(lambda: self.opened.store.find_command(_key(command)))
        if command not in self.model.commands:
            assert stored is None
            return
        assert stored is not None
        position, versions, types = self.model.commands[command]
        assert (stored.position, dict(stored.streams), stored.event_types) == (position, versions, types)
        assert (stored.hash, stored.result) == (command.bytes, json.dumps(str(command)))

    @rule(stream=STREAMS)
    def too_much(self, stream: StreamName) -> None:
        event = new_event(self.random)._replace(payload='"' + "x" * 256 * 1024 + '"')
        append = Append([StreamWrite(stream, ANY, [new_event(self.random), event])])
        try:
            self.run(lambda: self.opened.store.append(append))
        except InvalidInputError:
            return
        raise AssertionError("an event over 256 KB was stored (I1)")

    @rule()
    def reopen(self) -> None:
        self.run(self.opened.store.close)
        self.opened = self.opened.again()
        self.run(self._begin)

    @invariant()
    def head(self) -> None:
        head = self.run(self.opened.store.head)
        assert head.position == len(self.model.log)
        assert head.event_id == (self.model.log[-1][1].event_id if self.model.log else b"")

    @invariant()
    def rows(self) -> None:
        """L2, L3, L8: every row is where and what the model says."""
        page = self.run(lambda: self.opened.store.read_log(after=0, limit=10_000))
        entries = [entry_of(row) for row in page.events]
        assert [entry.position for entry in entries] == list(range(1, len(self.model.log) + 1))
        assert [row.stream for row in page.events] == [stream for stream, _ in self.model.log]
        assert [row.event_id for row in page.events] == [event.event_id for _, event in self.model.log]
        times = [row.recorded_at for row in page.events]
        assert times == sorted(times)

    @invariant()
    def beside(self) -> None:
        """S1, P2: rows and lanes beside the log are what was written with the appends that were stored."""
        inline, keys = self.opened.store.inline, [("tea",), ("milk",)]
        rows = self.run(lambda: inline.load(1, [Load(TALLY, ("name",), keys)]))["tally"]
        assert {row.name: row.total for row in rows} == self.model.rows
        places = self.run(lambda: inline.places(DUTY.name))
        assert [place.position for place in places] == [self.model.lanes[lane].expected for lane in range(DUTY.lanes)]
        ids = [b"", *(event.event_id for _, event in self.model.log)]
        assert all(place.event_id == ids[place.position] for place in places)


def _key(command: UUID) -> CommandKey:
    return CommandKey("", "tester", "Model", command)
