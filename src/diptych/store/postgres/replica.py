"""A copy of the database that queries read from: whether it has what was committed on the primary.

Rule: the primary's place in its own log is taken after the commit that is waited for, so that nothing is believed of
the copy but how far it has come.
"""

import asyncio
from time import monotonic
from typing import Final

from diptych.store.postgres.connections import Connections

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.02
_PLACE: Final = """
SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn() END,
    current_setting('wal_block_size')::bigint, pg_size_bytes(current_setting('wal_segment_size'))
"""
_HEADER: Final = 24  # bytes of the server's own log before the first record of a page, and of a file (a segment)
_FILE_HEADER: Final = 40
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
            found = await connection.fetchrow(_PLACE)
        assert found is not None
        place = _end_of_last(*found)
        deadline, pause = monotonic() + seconds, _FIRST_PAUSE
        while not await self._has_come_to(place):
            if monotonic() + pause > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        return True

    async def _has_come_to(self, place: int | None) -> bool:
        if place is None:
            return True
        async with self._copy.connection() as connection:
            return bool(await connection.fetchval(_HAS_COME, place))


def _end_of_last(place: int | None, page: int, segment: int) -> int | None:
    """Where the last record ends: where the next one begins, but for a header between them.

    A copy that has replayed everything stands at the one, and would come to the other only with the next record.
    """
    if place is None:
        return None
    if place % segment == _FILE_HEADER:
        return place - _FILE_HEADER
    return place - _HEADER if place % page == _HEADER else place
