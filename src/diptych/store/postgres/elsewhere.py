"""Rows in another database than their log: written only when the log is sure to keep what they were made of (R3).

Rule: nothing but this differs from rows beside their log, where the database itself compares.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from diptych.errors import CheckpointMovedError
from diptych.store.batches import ViewBatch
from diptych.store.postgres.connection import Database
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreSettings

Keeps: TypeAlias = Callable[[int, bytes], Awaitable[bool]]


class RowsElsewhere(PostgresViewStore):
    """Asks the log before each batch, for all projections that stand at one event once."""

    def __init__(
        self, database: Database, settings: StoreSettings, keeps: Keeps, *, read_from: Database | None = None
    ) -> None:
        """`keeps` says whether the event at a position is this one, and will be after a fail-over, too."""
        super().__init__(database, settings, read_from=read_from)
        self._keeps, self._kept = keeps, (0, b"")

    async def commit(self, batch: ViewBatch) -> None:
        """Write all of it or nothing. :raises CheckpointMovedError: also when the log has lost what was read."""
        await self._ask(batch)
        await super().commit(batch)

    async def _ask(self, batch: ViewBatch) -> None:
        """An empty event id is not asked for."""
        place = (batch.position, batch.event_id)
        if not batch.event_id or place == self._kept:
            return
        if not await self._keeps(*place):
            lane, _, expected = batch.moves[0]
            raise CheckpointMovedError(batch.projection, lane, expected, expected)
        self._kept = place
