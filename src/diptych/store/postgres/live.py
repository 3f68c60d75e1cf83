"""Which generations are read, as this process knows it: asked for once a second, and heard of on the way.

Rule: a session keeps to one placing; what is learned here is for those that begin after it.
"""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Final

from diptych.errors import StoreUnavailableError
from diptych.store.placing import Placing
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.migrations import in_schema
from diptych.store.tables import Table

_SECONDS: Final = 1.0  # after which a session looks itself, where nothing else was heard
_LOOK: Final = """
SELECT v.swaps, p.projection, p.live FROM diptych.view_store v LEFT JOIN diptych.projections p ON true
"""


class Live:
    """The placing of what is live, where sessions read."""

    def __init__(self, pool: Connections, tables: Mapping[str, Sequence[Table]]) -> None:
        self._pool, self._swaps, self._looked_at = pool, -1, -_SECONDS
        self._asked = self._answered = 0
        self._tables = {table.name: table for owned in tables.values() for table in owned}
        self._owners = {table.name: name for name, owned in tables.items() for table in owned}
        self._placing = Placing({}, {}, {})

    async def placing(self) -> Placing:
        """Return where plain names are now, to one second."""
        if monotonic() - self._looked_at >= _SECONDS:
            await self.look()
        return self._placing

    def table(self, placing: Placing, table: Table) -> Table:
        """Return what stands for a read model's table. :raises StoreUnavailableError: no rows of it are there yet."""
        try:
            return placing.table(table)
        except KeyError:
            raise StoreUnavailableError(
                f"{self._pool.database}: {table.name} is not there yet. Try again in a moment."
            ) from None

    async def look(self) -> None:
        """Ask the database. Of several who ask at once, who asked last is right."""
        self._looked_at = monotonic()
        self._asked = mine = self._asked + 1
        async with self._pool.connection() as connection:
            rows = await connection.fetch(in_schema(_LOOK, self._pool.database.schema))
        if mine > self._answered:
            self._answered = mine
            self._set(rows[0][0] if rows else 0, {name: live for _, name, live in rows if name is not None})

    def hear(self, swaps: int, live: Mapping[str, int]) -> None:
        """Learn what somebody read on the way; what is older than what is known is no news."""
        if swaps >= self._swaps:
            self._looked_at, self._answered = monotonic(), self._asked
            self._set(swaps, live)

    def see(self, swaps: int | None) -> None:
        """Hear how often was swapped: what is known is as good as new, or the next session looks."""
        if swaps is not None and swaps >= self._swaps:
            self._looked_at = monotonic() if swaps == self._swaps else -_SECONDS

    def _set(self, swaps: int, live: Mapping[str, int]) -> None:
        self._swaps = swaps
        if live != self._placing.generations:
            there = {name: table for name, table in self._tables.items() if self._owners[name] in live}
            self._placing = Placing(dict(live), there, self._owners)
