"""Looks at the schema of a service from outside, to say how far its projections are.

Rule: one read-only snapshot; nothing is created, migrated, locked or started.
"""

import asyncio
from collections.abc import Collection
from typing import Final

from diptych.errors import OtherHistoryError
from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint, ParkedEvent
from diptych.store.postgres.changes import Changes
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, open_connection, translate
from diptych.store.postgres.connections import Connections, close_connection
from diptych.store.postgres.guard import Judge
from diptych.store.postgres.holder import holder_of
from diptych.store.postgres.log import SETTINGS, Log
from diptych.store.postgres.migrations import check_known, in_schema
from diptych.store.protocols import Head
from diptych.store.seen import Look, Seen, Watched

_LONG: Final = 1.0  # seconds that nobody holds the lock of a log
_HAS: Final = "SELECT to_regclass($1) IS NOT NULL"
_HISTORY: Final = """
SELECT s.store_id = v.store_id, (SELECT coalesce(max(position), 0) FROM diptych.projection_checkpoints)
FROM diptych.event_store s, diptych.view_store v
"""


def peek(database: Database, projections: Collection[Watched]) -> Look:
    """Return the end of the log and the place of each projection, from a process that runs no event loop.

    :raises StoreError: the database cannot be read, or the rows are of another history.
    :raises StoreNewerThanCodeError: the schema was made by a newer version.
    """
    return asyncio.run(_peek(database, projections))


async def _peek(database: Database, projections: Collection[Watched]) -> Look:
    connection = await open_connection(database, {**SETTINGS, "default_transaction_read_only": "on"}, writes=False)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            found = await _look(connection, database, projections)
            holder = await holder_of(connection, database.schema, seconds=_LONG)
        return found if holder is None else found._replace(trouble=f"Nobody can append: {holder} holds the lock.")
    except DRIVER_ERRORS as error:
        raise translate(error, database) from error
    finally:
        await close_connection(connection)


async def _look(connection: Connection, database: Database, projections: Collection[Watched]) -> Look:
    schema, log = database.schema, Log(database.schema)
    if not await connection.fetchval(_HAS, f"{schema}.events"):
        return Look(str(database), Head(), [Seen(one.name, Checkpoint(), None, []) for one in projections])
    await check_known(connection, database)
    head, changes = await log.head(connection), None
    if await connection.fetchval(_HAS, f"{schema}.view_store"):
        changes = Changes(database, Judge(Connections(database, size=1)))  # which is never asked
        history = await connection.fetchrow(in_schema(_HISTORY, schema))
        if history is not None and (not history[0] or history[1] > head.position):
            raise OtherHistoryError(f"The read models in {database}", history[1])
    seen = []
    for one in projections:
        checkpoint, parked = Checkpoint(), list[ParkedEvent]()
        if changes is not None:
            checkpoint = await changes.read_checkpoint(connection, one.name)
            live = await changes.read_live(connection, one.name)
            parked = await changes.read_parked(connection, one.name, live)
        following = await _first_after(connection, log, checkpoint.position, one.types, head.position)
        seen.append(Seen(one.name, checkpoint, following, parked))
    return Look(str(database), head, seen)


async def _first_after(
    connection: Connection, log: Log, after: int, types: frozenset[str], head: int
) -> StoredEvent | None:
    while after < head:
        page = await log.page(connection, after, types, 1)
        if page.events:
            return page.events[0]
        after = page.scanned
    return None
