"""Moves rows of read models with the store they were made from, so that nobody waits until they are built again.

Rule: rows travel as Python objects, through the codecs of both sides, in one transaction with their checkpoint.
"""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from diptych.errors import StoreCorruptedError, ValueDoesNotFitError
from diptych.store.batches import ProjectionTables
from diptych.store.postgres.receiving import Target
from diptych.store.postgres.receiving_rows import ReceivedProjection, make_tables, receiving
from diptych.store.sqlite.moving_rows import ProjectionSnapshot, plain, snapshot
from diptych.store.tables import Table

T = TypeVar("T")
Tell = Callable[[str, int, int], None]
"""Hear how far a stage is, and of how much."""


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run what blocks in a thread. Who is cancelled meanwhile waits for its end: the thread has the file in use."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


class Line(NamedTuple):
    """What was compared, and what each side has."""

    what: str
    source: int
    target: int


class _Sum:
    """A hash of rows in any order, each hashed by the values that are the same wherever it is kept."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.rows = self.value = 0

    async def add(self, rows: Sequence[Any]) -> None:
        for row in rows:
            text = repr(plain(self._table, row)).encode()
            self.value += int.from_bytes(blake2b(text, digest_size=16).digest())
        self.rows += len(rows)


class RowsCopy:
    """The copy of the rows of some projections; `lines` and `left_out` tell afterwards what became of them."""

    def __init__(
        self, files: tuple[str, str], store_id: UUID, target: Target, projections: Sequence[ProjectionTables]
    ) -> None:
        """`files` are those of the events and of the rows."""
        self._files, self._store_id, self._target, self._projections = files, store_id, target, projections
        self.lines: list[Line] = []
        self.left_out: list[str] = []

    async def copy(self, tell: Tell, *, owed: bool) -> None:
        """Copy what is not there yet of read models, or of what is `owed`.

        Services may go on while read models are copied: each is as far as its checkpoint says, and catches up. What is
        owed is copied when the source is closed: what was done, or put aside, after that would be known there alone.
        """
        projections = [one for one in self._projections if one.is_owed == owed]
        if not projections:
            return
        await make_tables(self._target.database, self._projections, self._store_id)
        for projection in projections:
            with snapshot(*self._files, self._store_id, projection) as found:
                if found is None:
                    self.left_out.append(f"{projection.name}: its tables are not in the files as the code has them")
                    continue
                try:
                    await self._copy_one(projection, found, tell)
                except ValueDoesNotFitError as error:
                    self.left_out.append(f"{projection.name}: {error}")

    async def _copy_one(self, projection: ProjectionTables, found: ProjectionSnapshot, tell: Tell) -> None:
        async with receiving(self._target.connection, self._target.database, projection) as received:
            if received is None:  # by an earlier attempt
                return
            lines = [await self._copy_table(table, found, received, tell) for table in projection.tables]
            await received.finish(found.lanes, found.parked)
        self.lines += lines

    async def _copy_table(
        self, table: Table, found: ProjectionSnapshot, received: ReceivedProjection, tell: Tell
    ) -> Line:
        count, pages = found.count(table), found.rows(table)
        ours, theirs = _Sum(table), _Sum(table)
        while rows := await in_thread(pages.next_page):
            await ours.add(rows)
            await received.write(table, rows)
            tell(table.name, ours.rows, count)
        await received.each_page(table, theirs.add)
        if (ours.rows, ours.value) != (theirs.rows, theirs.value):
            raise StoreCorruptedError(f"The rows of {table.name} are not the same after they were copied.")
        return Line(table.name, ours.rows, theirs.rows)
