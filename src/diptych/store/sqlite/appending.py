"""Judges and writes all appends of a group: one statement looks everything up, one per table writes.

Rule: every guard of an append is judged before anything of it is written, except its inline rows.
"""

from collections.abc import Callable, Collection, Hashable, Sequence
from functools import lru_cache, partial
from itertools import chain
from json import loads
from typing import Any, NamedTuple, Protocol
from zlib import crc32

import apsw
from pydantic_core import to_json

from diptych.errors import WrongExpectedVersionError
from diptych.events.recorded import NewEvent, StoredEvent, chained, text_of
from diptych.store.batches import Fold, ViewBatch
from diptych.store.heads import HeadSignal
from diptych.store.protocols import Append, Appended, CommandKeyTaken, Head
from diptych.store.sqlite.log import read_command
from diptych.store.sqlite.writer import run_in_savepoint
from diptych.stream import Expected, is_met, slice_of, uuid_text


class Beside(Protocol):
    """The rows that commit with appends, on the connection of their transaction."""

    def fold_inline(
        self, connection: apsw.Connection, fold: Fold, events: Sequence[StoredEvent], head_before: int
    ) -> bool:
        """Fold the events of one append, the log having ended at the given position before it."""
        ...

    def write_beside(self, connection: apsw.Connection, batch: ViewBatch) -> None:
        """Write what commits with one append."""
        ...


_LOOK_UP = """
SELECT (SELECT json_array(position, hex(event_id), recorded_at) FROM events ORDER BY position DESC LIMIT 1),
       (SELECT coalesce(max(id), 0) FROM streams),
       (SELECT json_group_array(json_array(j.key, s.id, s.version, s.chain)) FROM json_each(?) j CROSS JOIN streams s
        ON s.tenant = j.value->>0 AND s.category = j.value->>1 AND s.stream_id = j.value->>2),
       (SELECT json_group_array(j.key) FROM json_each(?) j CROSS JOIN commands c
        ON c.command_id = unhex(j.value->>0) AND c.command_type = j.value->>1 AND c.user_id = j.value->>2
        AND c.tenant = j.value->>3)
"""
_INSERT_EVENTS = """INSERT INTO events (position, type, stream, version, schema_version, format, recorded_at, slice,
    checksum, chain, tenant, event_id, metadata, payload) VALUES """
_UPSERT_STREAMS = "INSERT INTO streams (id, tenant, category, stream_id, version, chain) VALUES "
_MOVE_STREAMS = " ON CONFLICT (id) DO UPDATE SET version = excluded.version, chain = excluded.chain"
_INSERT_COMMANDS = """INSERT INTO commands (tenant, user_id, command_type, command_id, hash, result, position,
    event_id, streams, event_types, recorded_at) VALUES """
_PRUNE = "DELETE FROM commands WHERE id IN (SELECT id FROM commands ORDER BY id LIMIT ?) AND recorded_at < ?"
_PRUNE_AFTER = 250  # stored command ids; then up to twice as many are dropped, so that the table stops growing
_ROWS_PER_STATEMENT = 64
_NONE = (0, 0, None)  # key, version and chained checksum of a stream that is not there
_stored = partial(tuple.__new__, StoredEvent)


class _Stream(NamedTuple):
    tenant: str
    category: str
    id: str
    slice: int
    expected: Expected
    events: Sequence[NewEvent]


class AppendJob:
    """An append made ready on the caller's thread."""

    __slots__ = ("append", "conflicts", "guards", "runner", "streams")

    def __init__(self, append: Append, runner: "Appender") -> None:
        self.append, self.runner = append, runner
        self.streams = [_stream(write.stream, write.expected, write.events) for write in append.writes]
        conflicts: list[Hashable] = [each[:3] for each in self.streams if each.events]
        if append.command is not None:
            key = append.command.key
            conflicts.append((*key[:3], key.command_id.int))  # the hash of a UUID is computed in Python
        self.conflicts: Collection[Hashable] = conflicts
        self.guards: Collection[Hashable] = [each[:3] for each in self.streams if not each.events]


def _stream(name: tuple[str, str, Any], expected: Expected, events: Sequence[NewEvent]) -> _Stream:
    tenant, category, uuid = name
    id = uuid_text(uuid)
    return _Stream(tenant, category, id, slice_of(id), expected, events)


class Appender:
    """The runner of appends. Used on the writer's thread alone."""

    def __init__(
        self, signal: HeadSignal, now: Callable[[], int], window_days: int, rows: Beside | None = None
    ) -> None:
        """`now` gives microseconds since 1970; `rows` are those that commit with an append."""
        self._signal, self._now, self._beside = signal, now, rows
        self._window = window_days * 86_400_000_000
        self._types: dict[str, int] = {}
        self._is_confirmed, self._head, self._commands = True, 0, 0

    def run(self, connection: apsw.Connection, jobs: Sequence[AppendJob]) -> Sequence[Any]:
        """Write what passes its guards; the outcome of the others is the error that says why not."""
        if not self._is_confirmed:  # the last group was rolled back, and with it the ids of its new types
            self._types.clear()
        self._is_confirmed = False
        group = _Group(self, connection, jobs)
        outcomes = [group.add(job) for job in jobs]
        group.write()
        self._head = group.head.position
        self._prune(connection, group)
        return outcomes

    def forget(self) -> None:
        """Believe nothing of what was learnt of the file: it was opened anew, and may be an older copy."""
        self._types.clear()

    def committed(self) -> None:
        """Tell this process how far the log reaches now."""
        self._is_confirmed = True
        self._signal.announce(self._head)

    def type_id(self, connection: apsw.Connection, name: str) -> int:
        """The number of a stored type, given when it is first stored."""
        found = self._types.get(name)
        if found is None:
            connection.execute("INSERT INTO event_types (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            found = self._types[name] = connection.execute("SELECT id FROM event_types WHERE name = ?", (name,)).get
        return found

    def recorded_at(self, head: Head) -> int:
        """The time of an append: the clock's, but never before the head's."""
        return max(self._now(), head.recorded_at)

    def fold(
        self, job: AppendJob, events: Sequence[StoredEvent], head: int, connection: apsw.Connection
    ) -> Sequence[str]:
        """Write the rows that commit with one append; returns whose. What it raises refuses that append."""
        beside = self._beside
        if beside is None:
            return ()
        inline = job.append.inline if events else ()
        folded = [fold.name for fold in inline if beside.fold_inline(connection, fold, events, head)]
        if job.append.beside is not None:
            beside.write_beside(connection, job.append.beside)
        return folded

    def _prune(self, connection: apsw.Connection, group: "_Group") -> None:
        self._commands += group.commands
        if self._commands >= _PRUNE_AFTER:
            connection.execute(_PRUNE, (2 * self._commands, max(group.recorded_at - self._window, 0)))
            self._commands = 0


class _Group:
    """What one transaction finds and is going to write."""

    def __init__(self, appender: Appender, connection: apsw.Connection, jobs: Sequence[AppendJob]) -> None:
        self._appender, self._connection = appender, connection
        self._look_up(jobs)
        self._together = len(jobs)
        self.recorded_at = appender.recorded_at(self.head)
        self._events: list[tuple[Any, ...]] = []
        self._moved: list[tuple[Any, ...]] = []
        self._commands: list[tuple[Any, ...]] = []

    @property
    def commands(self) -> int:
        """How many command ids it stores."""
        return len(self._commands)

    def _look_up(self, jobs: Sequence[AppendJob]) -> None:
        streams = [each for job in jobs for each in job.streams]
        keys = [job.append.command.key for job in jobs if job.append.command is not None]
        head, self._last_stream, versions, used = self._connection.execute(
            _LOOK_UP,
            (
                _json([each[:3] for each in streams]),
                _json([(key.command_id.hex, key.command_type, key.user_id, key.tenant) for key in keys]),
            ),
        ).get
        self.head = Head() if head is None else _head(*loads(head))
        self._versions = {streams[place][:3]: (id, version, chain) for place, id, version, chain in loads(versions)}
        self._used = {keys[place] for place in loads(used)}

    def add(self, job: AppendJob) -> Appended | Exception:
        """Judge one append and keep what it writes; return its outcome."""
        refusal = self._refusal(job)
        if refusal is not None:
            return refusal
        head, count = self.head, len(self._events)
        stored, moved = self._rows(job)
        folded: Sequence[str] = ()
        if job.append.beside is not None or (stored and job.append.inline):
            fold = partial(self._appender.fold, job, [*map(_stored, stored)], head.position)
            outcome = run_in_savepoint(self._connection, fold)
            if isinstance(outcome, Exception):
                self.head = head
                del self._events[count:]
                return outcome
            folded = outcome
        self._moved.extend(moved)
        self._keep_command(job, moved)
        last = self.head
        time = self.recorded_at if stored else last.recorded_at
        return Appended(last.position, last.event_id, time, [row[4] for row in moved], self._together, folded)

    def _refusal(self, job: AppendJob) -> Exception | None:
        append = job.append
        if append.command is not None and append.command.key in self._used:
            stored = read_command(self._connection, append.command.key)
            assert stored is not None
            return CommandKeyTaken(stored)
        for place, stream in enumerate(job.streams):
            actual = self._versions.get(stream[:3], _NONE)[1]
            if not is_met(stream.expected, actual):
                return WrongExpectedVersionError(append.writes[place].stream, stream.expected, actual)
        return None

    def _rows(self, job: AppendJob) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Make the rows of one append: its events as they are stored, and where its streams are then."""
        position, time, metadata = self.head.position, self.recorded_at, job.append.metadata
        type_ids, connection = self._appender.type_id, self._connection
        stored: list[tuple[Any, ...]] = []
        moved: list[tuple[Any, ...]] = []
        for tenant, category, id, slice, _, events in job.streams:
            if not events:
                continue
            key, version, chain = self._versions.get((tenant, category, id), _NONE)
            if key == 0:
                key = self._last_stream = self._last_stream + 1
            for event_id, type, schema, payload, format in events:
                position, version = position + 1, version + 1
                row = (position, tenant, category, id, version, event_id, type, schema, format, payload, metadata, time)
                text = text_of(row).encode()
                checked, chain = crc32(text), chained(text, chain)
                stored.append((*row, checked))
                numbers = (position, type_ids(connection, type), key, version, schema, format, time, slice, checked)
                self._events.append((*numbers, chain, tenant, event_id, metadata, payload))
            moved.append((key, tenant, category, id, version, chain))
        if stored:
            self.head = Head(position, stored[-1][5], time)
        return stored, moved

    def _keep_command(self, job: AppendJob, moved: Sequence[tuple[Any, ...]]) -> None:
        command = job.append.command
        if command is None:
            return
        key, head = command.key, self.head
        streams = _json([row[1:5] for row in moved])
        types = _json(sorted({event[1] for stream in job.streams for event in stream.events}))
        named = (key.tenant, key.user_id, key.command_type, key.command_id.bytes)
        answer = (command.hash, command.result, head.position, head.event_id)
        self._commands.append((*named, *answer, streams, types, self.recorded_at))

    def write(self) -> None:
        """Write what was kept: a few statements, however many appends there are."""
        _insert(self._connection, _INSERT_EVENTS, self._events)
        _insert(self._connection, _UPSERT_STREAMS, self._moved, _MOVE_STREAMS)
        _insert(self._connection, _INSERT_COMMANDS, self._commands)


def _json(value: Sequence[Any]) -> str:
    """Write names and numbers down, in a sixth of the time that `json.dumps` takes."""
    return to_json(value).decode()


def _head(position: int, event_id: str, recorded_at: int) -> Head:
    return Head(position, bytes.fromhex(event_id), recorded_at)


def _insert(connection: apsw.Connection, start: str, rows: Sequence[tuple[Any, ...]], end: str = "") -> None:
    """Insert rows, many in one statement, whose number of rows is a power of two so that few are ever prepared."""
    done, count = 0, len(rows)
    while done < count:
        size = min(1 << (count - done).bit_length() - 1, _ROWS_PER_STATEMENT)
        sql = _statement(start, size, len(rows[0]), end)
        connection.execute(sql, tuple(chain.from_iterable(rows[done : done + size])))
        done += size


@lru_cache(maxsize=100)
def _statement(start: str, rows: int, width: int, end: str) -> str:
    row = "(" + ",".join("?" * width) + ")"
    return start + ",".join([row] * rows) + end
