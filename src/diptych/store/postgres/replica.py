"""A copy of the database that queries read from: whether it has what was committed on the primary.

Rule: the primary's place in its own log is taken after the commit that is waited for, so that nothing is believed of
the copy but how far it has come.
"""

import asyncio
from time import monotonic
from typing import Any, Final

from diptych.store.postgres.connections import Connections

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.02
_PLACE: Final = "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn() END"
_HAS_COME: Final = "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= $1"


class Replica:
    """Compares a primary with its copy. A copy that became the primary has everything that will ever be there."""

    def __init__(self, primary: Connections, copy: Connections) -> None:
        self._primary, self._copy = primary, copy

    async def has_followed(self, seconds: float) -> bool:
        """Wait until the copy shows all that is committed now; False when it does not in so many seconds.

        :raises StoreError: one of the two cannot be asked.
        """
        async with self._primary.connection() as connection:
            place = await connection.fetchval(_PLACE)
        deadline, pause = monotonic() + seconds, _FIRST_PAUSE
        while not await self._has_come_to(place):
            if monotonic() + pause > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        return True

    async def _has_come_to(self, place: Any) -> bool:
        if place is None:
            return True
        async with self._copy.connection() as connection:
            return bool(await connection.fetchval(_HAS_COME, place))
