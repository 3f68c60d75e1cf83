"""Moves a store from a file to a server: copied while services go on, closed for the last piece, compared, opened.

There is never more than one of the two that takes appends: the file is marked before its last events are copied, and
the server refuses all until they are there and equal. Killed at any moment, the same call goes on.
Rule: nothing is decoded; events, ids, positions, times and checksums are the same on both sides, byte for byte.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from diptych.errors import (
    ConfigurationError,
    CorruptedEventError,
    OtherHistoryError,
    StoreCorruptedError,
    StoreMovedError,
)
from diptych.events.recorded import StoredEvent
from diptych.store.batches import ProjectionTables
from diptych.store.copying_rows import Line, RowsCopy, Tell, in_thread
from diptych.store.opening import path_of, shown, views_path
from diptych.store.postgres.connection import Database, database_of
from diptych.store.postgres.receiving import Received, Target, open_target
from diptych.store.sqlite.moving import SourceEvent, SourceFile

_EVENTS_PAGE: Final = 2000
_COMMANDS_PAGE: Final = 2000
_ROUNDS: Final = 3  # over what was written meanwhile, each much shorter than the one before


class Moved(NamedTuple):
    """What a copy ended with. `left_out` are sentences on projections that will be built again."""

    to: str
    lines: Sequence[Line]
    left_out: Sequence[str] = ()
    was_done: bool = False


async def copy(source_url: str, target_url: str, projections: Sequence[ProjectionTables], tell: Tell) -> Moved:
    """Move a store, with the rows of these projections. The source never takes an append again when this returns.

    :raises OtherHistoryError: there are other events in the target. :raises StoreMovedError: it is elsewhere already.
    :raises StoreCorruptedError: the two differ; the source takes appends as before.
    """
    path, database = ends_of(source_url, target_url)
    with SourceFile(path) as source:
        target = await open_target(database)
        try:
            rows = RowsCopy((path, views_path(path)), source.store_id, target, projections)
            return await StoreCopy(source, target, tell, path).run(rows)
        finally:
            await target.close()


def ends_of(source_url: str, target_url: str) -> tuple[str, Database]:
    """Return the file and the server of a move. :raises ConfigurationError: nothing can be moved between these."""
    path = path_of(source_url)
    if path is None or not target_url.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(
            f"A store moves from a file to a server, not from {shown(source_url)} to {shown(target_url)}. "
            "Write: diptych db copy sqlite:///shop.db postgresql://user@host/database"
        )
    database, _ = database_of(target_url)
    if database.is_pooled:
        raise ConfigurationError(
            f"{database}: a copy needs a session of its own, which PgBouncer does not give. "
            "Name the server itself, without pgbouncer=true; services may go on through PgBouncer."
        )
    return path, database


class StoreCopy:
    """One attempt to move a store, from wherever the one before it ended."""

    def __init__(self, source: SourceFile, target: Target, tell: Tell, path: str) -> None:
        self._source, self._target, self._tell, self._path = source, target, tell, path
        self._to = str(target.database)

    async def run(self, rows: RowsCopy) -> Moved:
        """Do all that is left to be done."""
        moved_to = self._source.moved_to()
        if moved_to not in (None, self._to):
            raise StoreMovedError(self._path, moved_to)
        is_whole = await self._target.begin(self._source.store_id, self._source.created_at)
        await self._refuse_another_history(is_whole=is_whole, is_marked=moved_to is not None)
        if is_whole:
            return Moved(self._to, [], was_done=True)
        await self._catch_up(1 if moved_to else _ROUNDS)
        await rows.copy(self._tell, owed=False)
        checked = 0
        try:
            if moved_to is None:
                checked = await self._compare_streams(0)
                await self._catch_up(1)
                await in_thread(self._source.mark, self._to)
                self._tell("source closed", 1, 1)
            await self._catch_up(1)
            await rows.copy(self._tell, owed=True)
            lines = await self._compare(checked)
        except (CorruptedEventError, StoreCorruptedError) as error:
            await in_thread(self._source.unmark)  # the target never took an append, nor does it now
            raise StoreCorruptedError(
                f"{self._to} is not what {self._path} is: {error} {self._path} takes appends as before. "
                "Drop the schema and copy again."
            ) from error
        await self._target.open_for_appends()
        self._tell("target opened", 1, 1)
        return Moved(self._to, [*lines, *rows.lines], rows.left_out)

    async def _refuse_another_history(self, *, is_whole: bool, is_marked: bool) -> None:
        """What is in the target must be what the source begins with."""
        head = await self._target.head()
        last = self._source.head()
        at = min(head.position, last) if is_whole else head.position
        ours = self._source.event_at(at) if at else None
        is_same = at == 0 or (ours is not None and (at < head.position or ours.event_id == head.event_id))
        if not is_same:
            raise OtherHistoryError(self._to, head.position)
        if is_whole and not is_marked:  # a backup of the file, say
            raise StoreMovedError(self._path, self._to)

    async def _catch_up(self, rounds: int) -> None:
        """Copy what is in the source when a round begins; what is written meanwhile is for the next."""
        for _ in range(rounds):
            await self._copy_events()
            await self._copy_commands()
        await self._target.forget_commands(self._source.oldest_command())

    async def _copy_events(self) -> None:
        position, last = (await self._target.head()).position, self._source.head()
        types: dict[str, int] = {}
        while position < last:
            page = await in_thread(self._source.events, position, _EVENTS_PAGE)
            named = {each.event.type for each in page}
            if not named <= types.keys():
                types = await self._target.types(named)
            await self._target.write_events(_received(page, types))
            position = page[-1].event.position
            self._tell("events", position, max(last, position))

    async def _copy_commands(self) -> None:
        after = await self._target.last_command()
        while page := await in_thread(self._source.commands, after, _COMMANDS_PAGE):
            await self._target.write_commands(page)
            after = page[-1].id

    async def _compare_streams(self, checked: int) -> int:
        """Compare the checksum of every stream that has events past `checked`; return how far that is true now.

        The target's is worked out from what it holds, the source's was kept when the events were written.
        """
        head, done, after = (await self._target.head()).position, 0, 0
        while True:
            after, theirs = await self._target.chains(after, checked)
            if not theirs:
                return head
            versions = {stream: version for stream, (version, _) in theirs.items()}
            ours = await in_thread(self._source.chains, versions)
            for stream, (version, chain) in theirs.items():
                if ours[stream] != chain:
                    raise StoreCorruptedError(f"{stream[1]}-{stream[2]} differs at version {version} or before it.")
            done += sum(versions.values())
            self._tell("compared", min(done, head), head)

    async def _compare(self, checked: int) -> list[Line]:
        """Compare everything, writers being locked out of both. :raises StoreCorruptedError: something differs."""
        await self._compare_streams(checked)
        ours = await in_thread(self._source.counts)
        theirs = await self._target.counts(ours._fields)
        lines = [Line(*each) for each in zip(ours._fields, ours, theirs, strict=True)]
        lines.append(Line("head", self._source.head(), (await self._target.head()).position))
        differing = [f"{what}: {source} and {target}" for what, source, target in lines if source != target]
        if differing:
            raise StoreCorruptedError(f"they have not the same number of {', '.join(differing)}.")
        return lines


def _received(page: Sequence[SourceEvent], types: dict[str, int]) -> Received:
    rows: list[tuple[Any, ...]] = []
    last: dict[int, StoredEvent] = {}
    for event, first, slice in page:
        checked = (event.recorded_at, event.checksum, UUID(bytes=event.event_id))
        kind = (event.schema_version, event.format, types[event.type], slice, event.tenant)
        rows.append((event.position, first, event.version, *checked, *kind, event.metadata, event.payload))
        last[first] = event
    streams = {first: (one.version, one.stream.id, one.category, one.tenant) for first, one in last.items()}
    return Received(rows, streams)
