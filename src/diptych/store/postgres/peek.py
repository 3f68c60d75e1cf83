"""Looks at the schemas of a service from outside, to say how far its projections are.

Rule: read-only snapshots; nothing is created, migrated, locked or started.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeVar
from uuid import UUID

from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint
from diptych.store.postgres.changes import Changes
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, open_connection, translate
from diptych.store.postgres.connections import Connections, close_connection
from diptych.store.postgres.guard import Judge
from diptych.store.postgres.holder import holder_of
from diptych.store.postgres.log import SETTINGS, Log
from diptych.store.postgres.migrations import check_known, in_schema
from diptych.store.protocols import Head
from diptych.store.seen import Kept, Look, Seen, Watched

T = TypeVar("T")

_LONG: Final = 1.0  # seconds that nobody holds the lock of a log
_HAS: Final = "SELECT to_regclass($1) IS NOT NULL"
_STORE: Final = "SELECT store_id FROM diptych.event_store"
_MADE_FROM: Final = """
SELECT store_id, (SELECT coalesce(max(position), 0) FROM diptych.projection_checkpoints) FROM diptych.view_store
"""


def peek(database: Database, kept: Kept | None, projections: Collection[Watched]) -> Look:
    """Return the end of the log and the place of each projection, from a process that runs no event loop.

    :raises StoreError: the database cannot be read, or the rows are of another history.
    :raises StoreNewerThanCodeError: the schema was made by a newer version.
    """

    async def look(connection: Connection) -> Look:
        found = await _look(connection, database, kept, projections)
        holder = await holder_of(connection, database.schema, seconds=_LONG)
        return found if holder is None else found._replace(trouble=f"Nobody can append: {holder} holds the lock.")

    return asyncio.run(_in_snapshot(database, look))


def peek_at_rows(database: Database, projections: Collection[Watched]) -> Kept | None:
    """Return what lies beside the rows in a schema, None if there never were any. Raises as `peek` does.

    Look there first: a log only grows, so that no rows are past its end then.
    """

    async def look(connection: Connection) -> Kept | None:
        return await _kept(connection, database, projections)

    return asyncio.run(_in_snapshot(database, look))


async def _in_snapshot(database: Database, look: Callable[[Connection], Awaitable[T]]) -> T:
    connection = await open_connection(database, {**SETTINGS, "default_transaction_read_only": "on"}, writes=False)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await check_known(connection, database)
            return await look(connection)
    except DRIVER_ERRORS as error:
        raise translate(error, database) from error
    finally:
        await close_connection(connection)


async def _look(
    connection: Connection, database: Database, kept: Kept | None, projections: Collection[Watched]
) -> Look:
    schema, log = database.schema, Log(database.schema)
    if not await connection.fetchval(_HAS, f"{schema}.events"):
        return Look(str(database), Head(), [Seen(one.name, Checkpoint(), None, []) for one in projections])
    head = await log.head(connection)
    if kept is not None:
        kept.check(UUID(bytes=(await connection.fetchval(in_schema(_STORE, schema))).bytes), head)
    seen = []
    for one in projections:
        checkpoint = Checkpoint() if kept is None else kept.checkpoints[one.name]
        following = await _first_after(connection, log, checkpoint.position, one.types, head.position)
        seen.append(Seen(one.name, checkpoint, following, [] if kept is None else kept.parked[one.name]))
    return Look(str(database), head, seen)


async def _kept(connection: Connection, database: Database, projections: Collection[Watched]) -> Kept | None:
    if not await connection.fetchval(_HAS, f"{database.schema}.view_store"):
        return None
    made_from = await connection.fetchrow(in_schema(_MADE_FROM, database.schema))
    if made_from is None:
        return None
    changes = Changes(database, Judge(Connections(database, size=1)))  # which is never asked
    checkpoints = {one.name: await changes.read_checkpoint(connection, one.name) for one in projections}
    live = {one.name: await changes.read_live(connection, one.name) for one in projections}
    parked = {name: await changes.read_parked(connection, name, number) for name, number in live.items()}
    store_id, furthest = UUID(bytes=made_from[0].bytes), made_from[1]
    return Kept(f"The read models in {database}", store_id, furthest, checkpoints, parked)


async def _first_after(
    connection: Connection, log: Log, after: int, types: frozenset[str], head: int
) -> StoredEvent | None:
    while after < head:
        page = await log.page(connection, after, types, 1)
        if page.events:
            return page.events[0]
        after = page.scanned
    return None
