"""The event store on a PostgreSQL server.

Rule: this file only puts the parts together: the writer, the readers of the log, the notices.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final
from uuid import UUID

from diptych.clock import new_id
from diptych.errors import OtherHistoryError, StoreUnavailableError, UnknownOutcomeError
from diptych.events.recorded import StoredEvent
from diptych.store.batches import ViewBatch
from diptych.store.heads import HeadSignal, HeadWatch
from diptych.store.limits import check_append
from diptych.store.postgres.appending import AppendJob, CommandTaken, rows_of
from diptych.store.postgres.beside import together
from diptych.store.postgres.connection import Connection, Database, warnings_of
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.log import SETTINGS, Log, Wanted
from diptych.store.postgres.migrations import in_schema, migrate
from diptych.store.postgres.notices import Notices
from diptych.store.postgres.session import Stored
from diptych.store.postgres.stream_reads import StreamReads
from diptych.store.postgres.timelines import Timelines
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.postgres.writer import Writer
from diptych.store.protocols import (
    Append,
    Appended,
    CommandKey,
    CommandKeyTaken,
    Head,
    Page,
    StoredCommand,
    StoreSettings,
)
from diptych.stream import StreamName

_DEFAULT: Final = StoreSettings()
_CONNECTIONS: Final = 8
_QUERY_SECONDS: Final = 30.0
_BUSY_POLL: Final = 0.05  # seconds between looks for other processes' commits; notices come sooner
_IDLE_POLL: Final = 0.25  # when none came for a second
_FAR: Final = 2**62  # no log gets there: to read from there only prepares what reads the log
_STORE_ID: Final = "SELECT store_id FROM diptych.event_store"
_NEW_STORE: Final = """
INSERT INTO diptych.event_store VALUES (1, $1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
ON CONFLICT DO NOTHING
"""


class PostgresEventStore:
    """The log in a schema of a PostgreSQL database, shared by any number of processes on any number of machines.

    It belongs to the event loop that opened it. Appends that wait are committed together.
    """

    def __init__(self, database: Database, settings: StoreSettings = _DEFAULT) -> None:
        self.database = database
        self.store_id = UUID(int=0)  # until it is open
        self.inline = PostgresViewStore(database, settings, is_beside_log=True)
        self._settings, self._log = settings, Log(database.schema)
        self._streams = StreamReads(self._log, self._reading)
        self._timelines, self._signal = Timelines(database), HeadSignal()
        busy = max(_BUSY_POLL, settings.poll_seconds)
        self._watch = HeadWatch(self._signal, self.head, busy=busy, idle=_IDLE_POLL)
        self._pool: Connections | None = None
        self._writer: Writer | None = None
        self._notices: Notices | None = None

    async def open(self) -> None:
        """Create or migrate the schema. :raises StoreNewerThanCodeError: and nothing is touched."""
        self._writer = Writer(
            self.database, self._settings, prepare=self._prepare, fold=self._fold, committed=self._committed
        )
        waiting = {"statement_timeout": str(int(_QUERY_SECONDS * 1000))}
        self._pool = Connections(
            self.database,
            size=_CONNECTIONS,
            settings={**SETTINGS, **waiting},
            answers_within=_QUERY_SECONDS + self._settings.answer_timeout,
        )
        if not self.database.is_pooled:  # a session that is lent hears nothing; polling finds what others append
            self._notices = Notices(self.database, self._watch.hint)
        try:
            await self._writer.open()
            ready = await self.read_log(after=_FAR)
            self._signal.announce(ready.head.position)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was begun and let go of every connection and task."""
        if self._writer is not None:  # first: what waits may fold rows, or ask what a command did
            await self._writer.close()
        await self.inline.close()
        notices, pool = self._notices, self._pool
        self._writer = self._notices = self._pool = None
        if notices is not None:
            await notices.close()
        if pool is not None:
            await pool.close()
        self._signal.announce(self._signal.position)

    @property
    def connections_in_use(self) -> int:
        """How many reading connections are handed out now."""
        return 0 if self._pool is None else self._pool.in_use

    async def append(self, append: Append) -> Appended:
        """Store all of it or nothing; when this returns it is on disk. Never cancelled half-way."""
        check_append(append, self._settings.limits)
        if self._writer is None:
            raise self._closed()
        if self._notices is not None:
            self._notices.start()
        outcome = await self._writer.submit(AppendJob(append))
        if isinstance(outcome, CommandTaken):
            assert append.command is not None
            stored = await self.find_command(append.command.key)
            if stored is None:
                raise StoreUnavailableError(f"{self.database}: the command's id was just forgotten. Try again.")
            raise CommandKeyTaken(stored)
        assert isinstance(outcome, Appended)
        return outcome

    async def read_stream(self, stream: StreamName, *, first: int = 1) -> Sequence[StoredEvent]:
        """Return the events of a stream from version `first` on. :raises CorruptedEventError: :raises StoreError:"""
        return await self._streams.read(Wanted(stream, first))

    async def streams_of(self, id: UUID) -> Sequence[StreamName]:
        """Return all streams with this id."""
        async with self._reading() as connection:
            return await self._log.streams_of(connection, id)

    async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
        """Return up to `limit` events after a position, of these types or of all; at most about 4 MB of payload."""
        async with self._reading() as connection:
            return await self._log.page(connection, after, types, limit)

    async def read_slices(self, *, after: int, slices: range, limit: int = 1000) -> Page:
        """Return up to `limit` events after a position, of streams in these slices; at most about 4 MB of payload."""
        async with self._reading() as connection:
            return await self._log.slices(connection, after, slices, limit)

    async def find_command(self, key: CommandKey) -> StoredCommand | None:
        """What this command did the first time, from a transaction that writes (C3).

        :raises UnknownOutcomeError: the server did not wait for its standby, so that the answer may not last.
        """
        async with self._reading() as connection:
            with warnings_of(connection) as warnings:
                found = await self._log.command(connection, key)
        if found is not None and warnings:
            raise UnknownOutcomeError(f"{self.database} warned while it looked for the command: {warnings[0]}")
        return found

    async def keeps(self, position: int, event_id: bytes) -> bool:
        """Whether the event at a position is this one, and a synchronous standby has it, too (R3).

        :raises StoreUnavailableError: the server did not wait for its standby.
        """
        async with self._reading() as connection:
            with warnings_of(connection) as warnings:
                is_kept = await self._log.keeps(connection, position, event_id)
        if warnings:
            raise StoreUnavailableError(f"{self.database} is not sure to keep position {position}: {warnings[0]}")
        return is_kept

    async def head(self) -> Head:
        """The end of the log now."""
        async with self._reading() as connection:
            return await self._log.head(connection)

    async def wait(self, after: int, seconds: float) -> None:
        """Return when the head is past `after`, or after `seconds`."""
        if self._notices is not None:
            self._notices.start()
        await self._watch.wait(after, seconds)

    async def lock_holder(self) -> str | None:
        """Who holds the lock of the log now, as a sentence names it; None if nobody does."""
        if self._writer is None:
            raise self._closed()
        return await self._writer.lock_holder()

    def _reading(self) -> AbstractAsyncContextManager[Connection]:
        if self._pool is None:
            raise self._closed()
        return self._pool.connection()

    def _closed(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self.database} is closed. Open the store before using it.")

    async def _fold(self, connection: Connection, stored: Stored) -> Sequence[Collection[str]]:
        """Write the rows that commit with appends; returns whose, for each of them."""
        beside: list[ViewBatch] = []
        folded: list[list[str]] = []
        for job, appended in stored:
            folded.append([])
            if job.count and job.append.inline:
                await self._write_beside(connection, beside)
                rows = rows_of(job.append, appended)
                for fold in job.append.inline:
                    if await self.inline.fold_inline(connection, fold, rows, appended.position - len(rows)):
                        folded[-1].append(fold.name)
            if job.append.beside is not None:
                beside.append(job.append.beside)
        await self._write_beside(connection, beside)
        return folded

    async def _write_beside(self, connection: Connection, beside: list[ViewBatch]) -> None:
        for batch in together(beside):
            await self.inline.write_beside(connection, batch)
        beside.clear()

    def _committed(self, position: int) -> None:
        self._signal.announce(position)
        if self._notices is not None:
            self._notices.tell()

    async def _prepare(self, connection: Connection) -> None:
        """Migrate; give a new store its id; and see, when it is opened again, that it is the same one and no older."""
        schema = self.database.schema
        await self._timelines.check(connection)
        await migrate(connection, self.database, "events")
        found = await connection.fetchval(in_schema(_STORE_ID, schema))
        if found is None:
            await connection.execute(in_schema(_NEW_STORE, schema), new_id())
            found = await connection.fetchval(in_schema(_STORE_ID, schema))
        store_id = UUID(bytes=found.bytes)
        if self.store_id.int and self.store_id != store_id:
            raise OtherHistoryError(f"The open store {self.store_id}", (await self._log.head(connection)).position)
        self.store_id = store_id
