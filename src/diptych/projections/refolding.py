"""Folds a projection again from the log, beside the one that is kept, and compares row with row.

Rule: what is kept is only read, and only by its own store; the other rows are in a temporary file, so that memory stays
flat, and are gone with it.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from uuid import UUID

from diptych.errors import StoreUnavailableError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.events.rows import stream_ids_of, types_of
from diptych.projections.batch import script_of
from diptych.projections.fold import BatchFold
from diptych.projections.leaving_out import left_out
from diptych.projections.piece import Piece
from diptych.projections.plan import Definition
from diptych.read.conditions import after, total_orders
from diptych.store.batches import Checkpoint, LaneMove, RowChanges, ViewBatch
from diptych.store.opening import open_stores
from diptych.store.protocols import EventStore, ReadSession, ViewStore
from diptych.store.rows import RowCodec, quoted
from diptych.store.tables import Bound, Table
from diptych.store.values import PLAIN
from diptych.subscriptions.failures import EventFailure
from diptych.subscriptions.lanes import lane_of

_TRIES: Final = 5
_LOOKS: Final = 50
_PAGE: Final = 1000

Tell = Callable[[str, int, int], None]


class Difference(NamedTuple):
    """A row that is not what the log makes of it; None where there is no such row."""

    table: Table
    kept: Any | None
    folded: Any | None

    def __str__(self) -> str:
        """Say it in a sentence."""
        row = self.folded if self.kept is None else self.kept
        name = f"{self.table.name} {', '.join(str(getattr(row, column)) for column in self.table.key)}"
        if self.kept is None:
            return f"{name} is missing."
        if self.folded is None:
            return f"{name} is there, and the log makes no such row."
        names = [column.name for column in self.table.columns]
        pairs = [(name, getattr(self.kept, name), getattr(self.folded, name)) for name in names]
        return (
            f"{name}: {'; '.join(f'{name} is {kept}, not {folded}' for name, kept, folded in pairs if kept != folded)}."
        )


class _Kept(NamedTuple):
    """A snapshot of what is kept, where each lane is in it, and how many events are parked."""

    session: ReadSession
    places: Sequence[int]
    parked: int


class Refolding:
    """One projection, folded again. Use `differences` once."""

    def __init__(self, definition: Definition, events: EventStore, views: ViewStore, codec: Codec) -> None:
        """`views` is where its rows are kept, open."""
        self._definition, self._events, self._views, self._codec = definition, events, views, codec
        self._aside = open_stores("memory:").views
        self._tables = definition.tables._replace(lanes=1)
        self._generation = 0
        self._at = Checkpoint()
        self.position = 0  # where in the log the two were compared: the least of the lanes
        self.rows = 0

    async def differences(self, tell: Tell) -> AsyncIterator[Difference]:
        """Yield every row that differs, by table and key, at one place of each lane of what is kept.

        A snapshot of what is kept is only open for the last piece of the log: one that is held keeps servers and files
        from tidying up.
        :raises StoreUnavailableError: it was rebuilt, or its parked events came and went, again and again.
        :raises ProjectionError: an event that is not parked cannot be folded now.
        """
        name = self._definition.name
        for _ in range(_TRIES):
            without = await self._begin(name, tell)
            async with self._snapshot() as kept:
                if kept is None:
                    continue
                parked = await self._parked(name)
                is_same = all(at > self._at.position for at in without ^ parked) and kept.parked == await self._count(
                    name
                )
                if is_same and min(kept.places) >= self._at.position:
                    self.position = min(kept.places)
                    await self._fold(kept.places, parked, tell)
                    async for difference in self._compare(kept.session):
                        yield difference
                    return
        raise StoreUnavailableError(f"{name}: it was changed again and again while it was folded. Verify it again.")

    async def _begin(self, name: str, tell: Tell) -> frozenset[int]:
        """Fold up to where all of its lanes are now; return the positions that were left out."""
        without = await self._parked(name)
        await self._aside.close()
        self._aside = open_stores("memory:").views  # of a try before, what is applied now may have been left out
        await self._aside.open([self._tables], store_id=UUID(int=0))
        self._generation = (await self._aside.generations.all())[-1].number
        self._at = await self._aside.checkpoint(name)
        await self._fold([(await self._views.checkpoint(name)).position], without, tell)
        return without

    @asynccontextmanager
    async def _snapshot(self) -> "AsyncIterator[_Kept | None]":
        """Open a snapshot of which it is known where each lane is in it; None: the lanes move too fast."""
        for _ in range(_LOOKS):
            async with self._views.reader() as session:
                before = await self._views.places(self._definition.name)
                found = await session.freshness(self._definition.name)
                after = await self._views.places(self._definition.name)
                if before == after and found.checkpoint.position == min(at.position for at in after):
                    yield _Kept(session, [at.position for at in after], found.parked)
                    return
        yield None

    async def _parked(self, name: str) -> frozenset[int]:
        """Return the positions that are not part of the rows: parked, or left out for ever."""
        parked = {event.position for event in await self._views.parked(name)}
        return frozenset(parked | await left_out(self._views, name))

    async def _count(self, name: str) -> int:
        return len(await self._views.parked(name))

    async def close(self) -> None:
        """Let go of the temporary rows."""
        await self._aside.close()

    async def _fold(self, places: Sequence[int], without: Collection[int], tell: Tell) -> None:
        """Fold on to where each lane is; of one place, all of them are there."""
        through = max(places)
        while self._at.position < through:
            page = await self._events.read_log(after=self._at.position, limit=min(through - self._at.position, 2000))
            if not page.events:
                return
            try:
                await self._take(page.events, places, without)
            except EventFailure as failure:
                raise failure.cause from failure
            tell(self._definition.name, self._at.position, through)

    async def _take(self, rows: Sequence[StoredEvent], places: Sequence[int], without: Collection[int]) -> None:
        definition, types, ids, first = self._definition, types_of(rows), stream_ids_of(rows), self._at.position + 1
        mine = [
            at
            for at, kind in enumerate(types)
            if kind in definition.takes
            and first + at not in without
            and first + at <= places[lane_of(ids[at], len(places))]
        ]
        piece = Piece(rows, mine, types, ids, self._codec.reading(rows))
        changes: Sequence[RowChanges] = ()
        if mine and definition.script is None:
            fold = BatchFold(definition, piece)
            loads = fold.loads()
            changes = fold.run(await self._aside.load(self._generation, loads) if loads else {})
        last, moves = rows[-1], [LaneMove(0, self._at.epoch, self._at.position)]
        place = (last.position, last.event_id, last.recorded_at)
        script = script_of(definition, piece)
        await self._aside.commit(ViewBatch(definition.name, self._generation, moves, *place, changes, script=script))
        self._at = Checkpoint(last.position, self._at.epoch, last.event_id, last.recorded_at)

    async def _compare(self, session: ReadSession) -> AsyncIterator[Difference]:
        async with self._aside.reader() as aside:
            for table in self._definition.tables.tables:
                kept, folded = _Rows(session, table), _Rows(aside, table)
                left, right = await kept.next(), await folded.next()
                while left is not None or right is not None:
                    self.rows += 1
                    if right is None or (left is not None and left.key < right.key):
                        yield Difference(table, left.row if left else None, None)
                        left = await kept.next()
                    elif left is None or right.key < left.key:
                        yield Difference(table, None, right.row)
                        right = await folded.next()
                    else:
                        if left.plain != right.plain:
                            yield Difference(table, left.row, right.row)
                        left, right = await kept.next(), await folded.next()


class _Row(NamedTuple):
    """A row, and its values in the form that is the same wherever they are kept: what is compared and ordered by."""

    key: tuple[Any, ...]
    plain: list[Any]
    row: Any


class _Rows:
    """The rows of a table in the order of their keys, page by page."""

    def __init__(self, session: ReadSession, table: Table) -> None:
        self._session, self._table, self._codec = session, table, RowCodec(table, PLAIN)
        self._order = total_orders(table, None)
        self._page: list[_Row] = []
        self._values: dict[str, Any] = {}

    async def next(self) -> _Row | None:
        """The next row; None after the last."""
        if not self._page:
            await self._fetch()
        return self._page.pop() if self._page else None

    async def _fetch(self) -> None:
        table = self._table
        columns = ", ".join(quoted(column.name) for column in table.columns)
        where = f" WHERE {after(self._order, 0)}" if self._values else ""
        order = ", ".join(each.sql for each in self._order)
        sql = f"SELECT {columns} FROM {quoted(table.name)}{where} ORDER BY {order} LIMIT {_PAGE}"  # noqa: S608 - quoted
        rows = self._session.decode(table, await self._session.fetch(sql, self._values))
        if rows:
            last = [Bound(each.column, getattr(rows[-1], each.column.name)) for each in self._order]
            self._values = {f"c{number}": value for number, value in enumerate(last)}
        places = [self._codec.names.index(name) for name in table.key]
        for row in reversed(rows):
            plain = self._codec.encode(row)
            self._page.append(_Row(tuple(plain[place] for place in places), plain, row))
