"""What a group of appends sends to the function `append_events`, and what its answer says of each of them.

Rule: nothing here talks to the server; the guards are judged by the function, under the lock.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID
from zlib import crc32

from diptych.errors import WrongExpectedVersionError
from diptych.events.recorded import ROW_SEPARATOR, SEPARATOR, NewEvent, StoredEvent, checksum, known_text
from diptych.store.protocols import Append, Appended
from diptych.stream import ANY, NO_STREAM, STREAM_EXISTS, Expected, StreamName

_EXPECTED: Final[Mapping[object, int]] = {ANY: -1, STREAM_EXISTS: -2, NO_STREAM: 0}
_NEVER: Final = 2**62  # no stream has this version
_stored = partial(tuple.__new__, StoredEvent)


class AppendJob:
    """An append that waits for its turn."""

    __slots__ = ("append", "bytes", "conflicts", "count", "guards")

    def __init__(self, append: Append) -> None:
        self.append = append
        conflicts: list[Hashable] = [write.stream for write in append.writes if write.events]
        if append.command is not None:
            conflicts.append(append.command.key)
        self.conflicts: Collection[Hashable] = conflicts
        self.guards: Collection[Hashable] = [write.stream for write in append.writes if not write.events]
        self.count = self.bytes = 0
        for write in append.writes:
            self.count += len(write.events)
            for event in write.events:
                self.bytes += len(event[3])

    @property
    def has_rows(self) -> bool:
        """Whether rows are written in its transaction, too."""
        return self.append.beside is not None or bool(self.count and self.append.inline)

    @property
    def types(self) -> set[str]:
        """The names of the types of its events."""
        return {event[1] for write in self.append.writes for event in write.events}


class CommandTaken(NamedTuple):
    """The outcome of an append whose command took effect before: what it did is yet to be looked up."""

    job: AppendJob


class Written(NamedTuple):
    """What `append_events` answers: where the log ended before, and what became of each append."""

    position: int
    event_id: UUID | None
    time: int | None
    now: int
    prior: Sequence[int] | None
    refusals: Sequence[int]


class Group:
    """Appends on their way to one transaction, in a few long texts: asyncpg takes its time for elements of arrays."""

    def __init__(self, jobs: Sequence[AppendJob], type_ids: Mapping[str, int], *, with_checksums: bool) -> None:
        """`with_checksums`: the server has no CRC-32 of its own and goes on from ours."""
        self.jobs = jobs
        self._type_ids, self._with_checksums = type_ids, with_checksums
        self._appends: list[int] = []
        self._kinds: dict[str, int] = {}  # those of this group, and the names, numbered from 1
        self._numbers: list[str] = []
        self._names: dict[str, int] = {}
        self._writes: list[str] = []
        self._streams: list[str] = []
        self._events: list[str] = []
        self._ids: list[str] = []
        self._payloads: list[str] = []
        self._checksums: list[int] = []
        self._commands: list[int] = []
        self._texts: list[str] = []
        for place, job in enumerate(jobs, 1):
            self._add(place, job.append)

    def arguments(self, lock: int) -> list[Any]:
        """The parameters of the statement, in its order."""
        return [
            lock,
            _array(map(str, self._appends)),
            ROW_SEPARATOR.join([job.append.metadata for job in self.jobs]),
            _array(self._numbers),
            SEPARATOR.join(self._kinds),
            SEPARATOR.join(self._names),
            _array(self._writes),
            _array(self._streams),
            _array(self._events),
            _array(self._ids),
            ROW_SEPARATOR.join(self._payloads),
            _array(map(str, self._checksums)),
            _array(map(str, self._commands)),
            SEPARATOR.join(self._texts),
        ]

    def _add(self, place: int, append: Append) -> None:
        kinds, numbers, payloads, ids = self._kinds, self._events, self._payloads, self._ids
        for write in append.writes:
            name, events = write.stream, write.events
            tenant, category, uuid = name
            named = self._names.setdefault(f"{tenant}\x1f{category}", len(self._names) + 1)
            slice, first = name.slice if events else 0, len(ids) + 1
            self._writes.append(f"{place},{named},{slice},{_wanted(write.expected)},{first},{len(events)}")
            self._streams.append(uuid.hex)
            number = len(self._streams)
            for event_id, type, schema, payload, format in events:
                kind = f"{type}\x1d{schema}\x1d{format}"
                known = kinds.get(kind)
                if known is None:
                    known = kinds[kind] = len(kinds) + 1
                    self._numbers.append(f"{self._type_ids[type]},{schema},{format}")
                numbers.append(f"{number},{known}")
                ids.append(event_id.hex())
                payloads.append(payload)
            if self._with_checksums:
                self._checksums.extend([_crc(event, name, append.metadata) for event in events])
        self._appends.append(len(ids))
        if append.command is not None:
            key, hash, result = append.command
            self._commands.append(place)
            self._texts += [key.tenant, key.user_id, key.command_type, key.command_id.hex, hash.hex(), result]

    def outcomes(self, written: Written) -> list[Appended | CommandTaken | Exception]:
        """What each append is answered: its places in the log, or why it was refused."""
        head = written.position
        event_id = b"" if written.event_id is None else written.event_id.bytes
        time, prior = written.time or 0, iter(written.prior or ())
        outcomes: list[Appended | CommandTaken | Exception] = []
        for place, job in enumerate(self.jobs):
            before = [next(prior) for _ in job.append.writes]
            if written.refusals[place] != 0:
                outcomes.append(self._refusal(place, written))
                continue
            head += job.count
            if job.count:
                event_id, time = _last_id(job.append), written.now
            versions = [v + len(w.events) for v, w in zip(before, job.append.writes, strict=True) if w.events]
            outcomes.append(Appended(head, event_id, time, versions, len(self.jobs)))
        return outcomes

    def _refusal(self, place: int, written: Written) -> CommandTaken | Exception:
        job, code = self.jobs[place], written.refusals[place]
        if code == -1:
            return CommandTaken(job)
        assert written.prior is not None
        first = sum(len(each.append.writes) for each in self.jobs[:place])
        write = job.append.writes[code - 1 - first]
        return WrongExpectedVersionError(write.stream, write.expected, written.prior[code - 1])


def rows_of(append: Append, appended: Appended) -> list[StoredEvent]:
    """The rows of the log that an append became."""
    versions = iter(appended.versions)
    position = appended.position - sum(len(write.events) for write in append.writes)
    rows: list[StoredEvent] = []
    for write in append.writes:
        tenant, category, uuid = write.stream
        version = next(versions) - len(write.events) if write.events else 0
        for event_id, type, schema, payload, format in write.events:
            position, version = position + 1, version + 1
            place = (position, tenant, category, str(uuid), version, event_id)
            row: tuple[Any, ...] = (*place, type, schema, format, payload, append.metadata, appended.recorded_at)
            rows.append(_stored((*row, checksum(row))))
    return rows


def _wanted(expected: Expected) -> int:
    if isinstance(expected, int):
        return expected if 0 <= expected < _NEVER else _NEVER
    return _EXPECTED[expected]


def _crc(event: NewEvent, stream: StreamName, metadata: str) -> int:
    event_id, type, schema, payload, format = event
    tenant, category, uuid = stream
    row = (0, tenant, category, str(uuid), 0, event_id, type, schema, format, payload, metadata)
    return crc32(known_text(row).encode())


def _last_id(append: Append) -> bytes:
    for write in reversed(append.writes):
        if write.events:
            return write.events[-1][0]
    return b""


def _array(elements: Iterable[str]) -> str:
    return f"{{{','.join(elements)}}}"
