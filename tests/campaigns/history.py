"""What clients of an event store did and saw, and a checker that says in linear time which invariant it breaks.

Rule: nothing here knows a store; a history is plain data, so that it can be written by any process and forged by tests.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, NamedTuple

ANY_VERSION: Final = -1
NO_STREAM_YET: Final = 0
SOME_VERSION: Final = -2

NEVER: Final = 2**63  # a time after everything: an operation whose answer never came may take effect until then

Outcome = Literal["stored", "conflict", "duplicate", "refused", "unknown"]


class Write(NamedTuple):
    """Events for one stream, by id. `expected` is a version, or one of the three constants above."""

    stream: str
    expected: int
    events: tuple[str, ...]


class Entry(NamedTuple):
    """One event of the final log, in the order in which the store gives it."""

    position: int
    stream: str
    version: int
    event_id: str


@dataclass(slots=True)
class Operation:
    """One append from a client's side. Times are nanoseconds of the machine's one monotonic clock."""

    client: str
    invoked: int
    writes: tuple[Write, ...]
    command: str | None = None
    finished: int = NEVER
    outcome: Outcome = "unknown"
    position: int = 0  # as answered: of the last event, or of the first answer of a duplicate
    versions: tuple[int, ...] = ()  # as answered, one per write
    conflict_stream: str = ""
    conflict_actual: int = 0

    @property
    def event_ids(self) -> list[str]:
        """All events it meant to store, in order."""
        return [event for write in self.writes for event in write.events]


class Read(NamedTuple):
    """One page a reader got: the events after `after` up to `scanned`, while the head was `head`.

    With a `kind` it asked only for events whose id begins so.
    """

    reader: str
    invoked: int
    finished: int
    after: int
    scanned: int
    head: int
    events: tuple[tuple[int, str], ...]
    kind: str = ""


@dataclass(slots=True)
class History:
    """Everything that was tried and seen, and what the log holds in the end."""

    operations: list[Operation] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    log: list[Entry] = field(default_factory=list)


class Violation(NamedTuple):
    """A broken invariant, in a sentence."""

    invariant: str
    what: str


def operation_line(operation: Operation) -> str:
    """One line of JSON, for a history that several processes write."""
    return json.dumps(asdict(operation))


def operation_of(line: str) -> Operation:
    """The operation a line of JSON says."""
    data: dict[str, Any] = json.loads(line)
    data["writes"] = tuple(Write(stream, expected, tuple(events)) for stream, expected, events in data["writes"])
    data["versions"] = tuple(data["versions"])
    return Operation(**data)


def violations(history: History) -> list[Violation]:
    """Every invariant this history breaks, each with its first few examples; empty for a history that may be true."""
    log = _Log(history.log)
    found = [*log.problems]
    for check in (_stored, _not_stored, _commands, _real_time, _winners, _conflicts):
        found.extend(check(history.operations, log))
    found.extend(_reads(history.reads, history.operations, log))
    return found


class _Log:
    """The final log with the indexes that make every check one pass: L2, L3 and doubled events fall out of building."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.problems: list[Violation] = []
        self.at: dict[int, Entry] = {}
        self.by_event: dict[str, Entry] = {}
        self.by_version: dict[tuple[str, int], Entry] = {}
        self.versions: dict[str, int] = {}
        for index, entry in enumerate(entries, start=1):
            self._place(index, entry)

    def _place(self, index: int, entry: Entry) -> None:
        if entry.position != index:
            self.problems.append(Violation("L2", f"entry {index} of the log has position {entry.position}"))
        if entry.event_id in self.by_event:
            first = self.by_event[entry.event_id].position
            self.problems.append(Violation("C1", f"event {entry.event_id} is stored at {first} and {entry.position}"))
        last = self.versions.get(entry.stream, 0)
        if entry.version != last + 1:
            what = f"{entry.stream}: version {entry.version} at position {entry.position} follows version {last}"
            self.problems.append(Violation("L3", what))
        self.versions[entry.stream] = entry.version
        self.at[entry.position] = entry
        self.by_event.setdefault(entry.event_id, entry)
        self.by_version.setdefault((entry.stream, entry.version), entry)

    def entries(self, operation: Operation) -> list[Entry]:
        """What of this operation is stored."""
        return [self.by_event[event] for event in operation.event_ids if event in self.by_event]

    def has(self, operation: Operation) -> bool:
        """Whether any event of this operation is stored."""
        return any(event in self.by_event for event in operation.event_ids)


def _stored(operations: Sequence[Operation], log: _Log) -> Iterable[Violation]:
    """L1 for what was acknowledged, L7 and order for whatever is stored, L8 for events nobody wrote."""
    known: set[str] = set()
    for operation in operations:
        wanted = operation.event_ids
        known.update(wanted)
        entries = log.entries(operation)
        if operation.outcome == "stored" and len(entries) < len(wanted):
            yield Violation("L1", f"{_name(operation)} was acknowledged; {len(wanted) - len(entries)} events are lost")
            continue
        if not entries:
            continue
        if len(entries) < len(wanted):
            yield Violation("L7", f"{_name(operation)}: {len(entries)} of its {len(wanted)} events are stored")
            continue
        positions = [entry.position for entry in entries]
        if positions != list(range(positions[0], positions[0] + len(positions))):
            yield Violation("L4", f"{_name(operation)} has its events at {positions}, not one after the other")
        yield from _answer(operation, entries)
    for entry in log.at.values():
        if entry.event_id not in known:
            yield Violation("L8", f"position {entry.position} holds {entry.event_id}, which nobody wrote")


def _answer(operation: Operation, entries: Sequence[Entry]) -> Iterable[Violation]:
    """What was answered is what is stored."""
    placed = {entry.event_id: entry for entry in entries}
    for write in operation.writes:
        for event in write.events:
            if placed[event].stream != write.stream:
                yield Violation("L8", f"{event} was written to {write.stream} and is in {placed[event].stream}")
    if operation.outcome != "stored":
        return
    if operation.position != entries[-1].position:
        what = f"{_name(operation)} was told position {operation.position}, it is {entries[-1].position}"
        yield Violation("L1", what)
    last = tuple(placed[write.events[-1]].version for write in operation.writes if write.events)
    if operation.versions != last:
        yield Violation("L3", f"{_name(operation)} was told versions {operation.versions}, they are {last}")


def _not_stored(operations: Sequence[Operation], log: _Log) -> Iterable[Violation]:
    """L7: what was refused, or answered as a duplicate, is not there."""
    for operation in operations:
        if operation.outcome in ("conflict", "refused", "duplicate") and log.has(operation):
            yield Violation("L7", f"{_name(operation)} was answered '{operation.outcome}' and yet is stored")


def _commands(operations: Sequence[Operation], log: _Log) -> Iterable[Violation]:
    """C1: one effect per command id, the same answer to all, and no rejection once it took effect."""
    effects: dict[str, Operation] = {}
    acknowledged: dict[str, int] = {}
    for operation in operations:
        if operation.command is None:
            continue
        if log.has(operation):
            if operation.command in effects:
                first = _name(effects[operation.command])
                yield Violation("C1", f"command {operation.command} took effect in {first} and {_name(operation)}")
            effects.setdefault(operation.command, operation)
        if operation.outcome in ("stored", "duplicate"):
            earlier = acknowledged.get(operation.command, NEVER)
            acknowledged[operation.command] = min(earlier, operation.finished)
    for operation in operations:
        if operation.command is not None:
            yield from _repeated(operation, effects, acknowledged, log)


def _repeated(
    operation: Operation, effects: dict[str, Operation], acknowledged: dict[str, int], log: _Log
) -> Iterable[Violation]:
    command = operation.command or ""
    effect = effects.get(command)
    if operation.outcome == "duplicate":
        if effect is None or effect.invoked > operation.finished:
            yield Violation("C1", f"{_name(operation)} was told command {command} was done, and it was not")
        elif operation.position != log.entries(effect)[-1].position:
            yield Violation("C1", f"{_name(operation)} got another answer than {_name(effect)} for the same command")
    if operation.outcome == "conflict" and acknowledged.get(command, NEVER) < operation.invoked:
        yield Violation("C1", f"{_name(operation)} was rejected although command {command} had taken effect")


def _real_time(operations: Sequence[Operation], log: _Log) -> Iterable[Violation]:
    """L4: walk the log from its end; nothing may begin after something that stands behind it was acknowledged."""
    starts: dict[int, Operation] = {}
    for operation in operations:
        entries = log.entries(operation)
        if entries:
            starts[entries[0].position] = operation
    earliest, holder = NEVER, ""
    for position in sorted(starts, reverse=True):
        operation = starts[position]
        if operation.invoked > earliest:
            yield Violation("L4", f"{_name(operation)} began after {holder} was acknowledged and stands before it")
        if operation.outcome == "stored" and operation.finished < earliest:
            earliest, holder = operation.finished, _name(operation)


def _winners(operations: Sequence[Operation], log: _Log) -> Iterable[Violation]:
    """L6: whoever is stored found what it expected, so two who expected the same cannot both be."""
    winners: dict[tuple[str, int], str] = {}
    for operation in operations:
        for write in operation.writes:
            entry = log.by_event.get(write.events[0]) if write.events else None
            if entry is None:
                continue
            if not _is_met(write.expected, entry.version - 1):
                what = f"{_name(operation)} expected version {write.expected} of {write.stream}, got {entry.version}"
                yield Violation("L6", what)
            if write.expected >= 0:
                key = (write.stream, write.expected)
                if key in winners:
                    what = f"{winners[key]} and {_name(operation)} both won {write.stream} at {write.expected}"
                    yield Violation("L6", what)
                winners[key] = _name(operation)


def _is_met(expected: int, actual: int) -> bool:
    if expected == ANY_VERSION:
        return True
    if expected == SOME_VERSION:
        return actual > 0
    return expected == actual


def _conflicts(operations: Sequence[Operation], log: _Log) -> Iterable[Violation]:
    """L6: a conflict names a version that the stream had while the operation ran, and that was not the expected one."""
    writers = {event: operation for operation in operations for event in operation.event_ids}
    for operation in operations:
        if operation.outcome != "conflict":
            continue
        stream, actual = operation.conflict_stream, operation.conflict_actual
        expected = [write.expected for write in operation.writes if write.stream == stream]
        if not expected or _is_met(expected[0], actual):
            yield Violation("L6", f"{_name(operation)} got a conflict on {stream} at {actual}, which it expected")
            continue
        if actual > 0:
            entry = log.by_version.get((stream, actual))
            writer = writers.get(entry.event_id) if entry else None
            if writer is None or writer.invoked > operation.finished:
                yield Violation("L6", f"{_name(operation)} got a conflict on {stream} at {actual}; nobody had won it")
        following = log.by_version.get((stream, actual + 1))
        successor = writers.get(following.event_id) if following else None
        if successor is not None and successor.outcome == "stored" and successor.finished < operation.invoked:
            yield Violation("L6", f"{_name(operation)} got a conflict on {stream} at {actual}, which was long past")


def _reads(reads: Sequence[Read], operations: Sequence[Operation], log: _Log) -> Iterable[Violation]:
    """L5: every page is exactly the piece of the final log it claims to be, and holds what was acknowledged before."""
    began = {event: operation.invoked for operation in operations for event in operation.event_ids}
    for read in reads:
        expected = tuple(
            (position, entry.event_id)
            for position in range(read.after + 1, read.scanned + 1)
            if (entry := log.at.get(position)) is not None and entry.event_id.startswith(read.kind)
        )
        if read.events != expected:
            yield Violation("L5", _difference(read, expected))
        if read.scanned > max(read.head, read.after):
            yield Violation(
                "P4", f"reader {read.reader} was told {read.scanned} is scanned while the head is {read.head}"
            )
        if any(began.get(event, NEVER) > read.finished for _, event in read.events):
            yield Violation("L5", f"reader {read.reader} saw an event before anybody wrote it")
    yield from _fresh(reads, operations)


def _difference(read: Read, expected: tuple[tuple[int, str], ...]) -> str:
    skipped = sorted({position for position, _ in expected} - {position for position, _ in read.events})
    if skipped:
        return f"reader {read.reader} skipped positions {skipped[:5]} of ({read.after}, {read.scanned}]"
    return f"reader {read.reader} saw other events in ({read.after}, {read.scanned}] than the log holds"


def _fresh(reads: Sequence[Read], operations: Sequence[Operation]) -> Iterable[Violation]:
    """L4: a read that begins after an acknowledgement has a head at or past it."""
    answers = ("stored", "duplicate")
    done = sorted((o.finished, o.position) for o in operations if o.outcome in answers)
    highest, index = 0, 0
    for read in sorted(reads, key=lambda one: one.invoked):
        while index < len(done) and done[index][0] < read.invoked:
            highest = max(highest, done[index][1])
            index += 1
        if read.head < highest:
            yield Violation("L4", f"reader {read.reader} found head {read.head} after {highest} was acknowledged")


def _name(operation: Operation) -> str:
    return f"{operation.client}@{operation.invoked}"
