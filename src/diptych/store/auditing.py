"""The audit of a log: every rule that can be seen broken in what is stored, and where.

Rule: it reads page by page, forgets each, and tells at most so many findings of one invariant; memory stays flat.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from diptych.errors import DataError, StoreCorruptedError
from diptych.store.outside import AuditSource, CommandFacts, EventFacts, MarkFacts, StreamFacts, VersionFacts
from diptych.store.protocols import Head

Knows = Callable[[str, int], str | None]
"""Says what is wrong with a stored name and schema version, None if the code knows it."""
Tell = Callable[[str, int, int], None]
"""Called with what is read, how far it is, and how far it has to go."""

AT_MOST: Final = 100  # findings of one invariant
_START: Final = -(2**62)  # before any position or number


class Finding(NamedTuple):
    """A rule that does not hold: its name in `invariants`, where, and a sentence. `position` is None for no event's."""

    invariant: str
    position: int | None
    sentence: str


class Audited(NamedTuple):
    """What an audit found. `read` counts what it went through, `left_out` the findings beyond `AT_MOST`."""

    findings: Sequence[Finding]
    left_out: Counter[str]
    read: Counter[str]


class Audit:
    """Goes through a log once by position and once by stream, then through what points into it.

    What is appended meanwhile is not looked at; what points to it is not taken for wrong.
    """

    def __init__(self, source: AuditSource, tell: Tell, knows: Knows | None = None) -> None:
        """Without `knows`, types are only looked for in the store's own table of them."""
        self._source, self._tell, self._knows = source, tell, knows
        self._findings: list[Finding] = []
        self._told, self.read = Counter[str](), Counter[str]()
        self._unknown: set[tuple[str, int]] = set()

    async def run(self) -> Audited:
        """Audit everything. Where a part cannot be read at all, that is a finding, and the others are read."""
        head = await self._source.head()
        steps: list[Callable[[Head], Awaitable[None]]] = [
            self._guards, self._events, self._versions, self._streams, self._commands, self._marks,
        ]  # fmt: skip
        for step in steps:
            try:
                await step(head)
            except (StoreCorruptedError, DataError) as error:
                self.find("L8", getattr(error, "position", None), f"The rest cannot be read: {error}")
        if self.read["events"] != self.read["events by stream"]:
            which = f"the log has {self.read['events']:,} events, its index by stream {self.read['events by stream']:,}"
            self.find("L8", None, f"The index does not fit the log: {which}.")
        return self.audited

    @property
    def audited(self) -> Audited:
        """What was found so far."""
        return Audited(self._findings, self._told - Counter(dict.fromkeys(self._told, AT_MOST)), self.read)

    def find(self, invariant: str, position: int | None, sentence: str) -> None:
        """Note a finding."""
        self._told[invariant] += 1
        if self._told[invariant] <= AT_MOST:
            self._findings.append(Finding(invariant, position, sentence))

    async def _guards(self, _: Head) -> None:
        for name in await self._source.missing_guards():
            self.find("L8", None, f"The trigger {name} is missing, off or changed: what is stored can be altered.")

    async def _events(self, head: Head) -> None:
        expected, time, after = 1, 0, _START
        while page := await self._source.events(after, head.position):
            for event in page:
                self._position(event.position, expected)
                if event.recorded_at < time:
                    self.find("L4", event.position, f"Position {event.position} was recorded before the one before it.")
                expected, time = max(event.position, 0) + 1, event.recorded_at
                self._event(event)
            after = page[-1].position
            self.read["events"] += len(page)
            self._tell("events", after, head.position)

    def _position(self, position: int, expected: int) -> None:
        if position > expected:
            gap = (
                f"Position {expected} is" if position == expected + 1 else f"Positions {expected} to {position - 1} are"
            )
            self.find("L2", expected, f"{gap} missing: the log goes on with {position}.")
        elif position < expected:
            self.find("L2", position, f"There is an event at position {position}; the log begins with 1.")

    def _event(self, event: EventFacts) -> None:
        at = event.position
        if event.type is None:
            self.find("I2", at, f"Position {at} has a type that is not in the table of types.")
        if event.stream is None:
            self.find("L3", at, f"Position {at} is of a stream that is not in the table of streams, or has no name.")
        if event.type is None or event.stream is None:
            return  # its checksum is over names that are lost
        if not event.has_same_tenant:
            self.find("L3", at, f"Position {at} is of another tenant than its stream {event.stream}.")
        if event.crc != event.checksum:
            self.find("L8", at, f"Position {at} ({event.type} of {event.stream}) does not match its checksum.")
        if event.slice != event.stream.slice:
            wanted = f"slice {event.slice}, and its stream {event.stream} is in {event.stream.slice}"
            self.find("L8", at, f"Position {at} is in {wanted}.")
        kind = (event.type, event.schema_version)
        if self._knows is not None and kind not in self._unknown and (why := self._knows(*kind)) is not None:
            self._unknown.add(kind)
            self.find("I2", at, f"Position {at} is the first {event.type} v{event.schema_version}: {why}")

    async def _versions(self, head: Head) -> None:
        before: VersionFacts | None = None
        while page := await self._source.by_stream(before, head.position):
            for each in page:
                self._version(before, each)
                before = each
            self.read["events by stream"] += len(page)
            self._tell("streams' events", self.read["events by stream"], head.position)

    def _version(self, before: VersionFacts | None, each: VersionFacts) -> None:
        at, same = each.position, before is not None and before.stream == each.stream
        last = before.version if before is not None and same else 0
        if each.version == last:
            self.find("L3", at, f"Position {at} has version {each.version} of its stream, and so has another event.")
        elif each.version != last + 1:
            self.find("L3", at, f"Position {at} has version {each.version} of its stream, after version {last}.")
        if before is not None and same and at < before.position:
            self.find(
                "L4", at, f"Position {at} has version {each.version} of its stream, and {last} is at {before.position}."
            )
        if not each.is_chained:
            self.find(
                "L8", at, f"Position {at} does not go on from its stream's event before, by the chained checksum."
            )

    async def _streams(self, _: Head) -> None:
        after = _START
        while page := await self._source.streams(after):
            for stream in page:
                self._stream(stream)
            after = page[-1].id
            self.read["streams"] += len(page)

    def _stream(self, stream: StreamFacts) -> None:
        if stream.last is None:
            self.find("L3", None, f"{stream.name} is said to be at version {stream.version} and has no events.")
            return
        if stream.last != stream.version:
            ends = f"its events end with {stream.last}"
            self.find("L3", stream.first, f"{stream.name} is said to be at version {stream.version}, and {ends}.")
        if not stream.has_last_chain:
            self.find("L8", stream.first, f"{stream.name} is not known by its events: its own row names others.")

    async def _commands(self, _: Head) -> None:
        after = _START
        while page := await self._source.commands(after):
            for command in page:
                self._command(command)
            after = page[-1].id
            self.read["commands"] += len(page)

    def _command(self, command: CommandFacts) -> None:
        at = command.position
        if at > command.head:
            what = f"was acknowledged at position {at}, and the log ends at {command.head}"
            self.find("L1", at, f"{command.name} {what}: events are lost.")
        elif not command.is_there:
            self.find("L7", at, f"{command.name} names an event at position {at} that is not there.")
        elif command.lost:
            what = "of the events or versions that it stored"
            self.find("L7", at, f"{command.name} (position {at}): {command.lost} {what} are not in the log as it says.")

    async def _marks(self, head: Head) -> None:
        for mark in await self._source.marks():
            self.read["checkpoints"] += 1
            sentence = judged(mark, (await self._source.head()).position)
            if sentence is not None:
                self.find("P2", mark.position, sentence)


def judged(mark: MarkFacts, head: int) -> str | None:
    """Say what is wrong with a checkpoint, None if nothing is."""
    if mark.position == 0 and not mark.event_id:
        return None
    if mark.position > head:
        return f"The checkpoint of {mark.name} is at position {mark.position}, and the log ends at {head}."
    if mark.event_id != mark.there:
        return f"The checkpoint of {mark.name} is at position {mark.position}, and names another event than is there."
    return None
