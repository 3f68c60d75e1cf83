"""Looks at the two files of a service from outside, to say how far its projections are.

Rule: nothing is created, migrated, locked or started; SQLite itself refuses every write on these connections.
"""

from collections.abc import Collection
from pathlib import Path

import apsw

from diptych.errors import OtherHistoryError
from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint, ParkedEvent
from diptych.store.protocols import Head
from diptych.store.seen import Look, Seen, Watched
from diptych.store.sqlite.changes import read_live, read_parked, read_places
from diptych.store.sqlite.connection import translate
from diptych.store.sqlite.log import read_head, read_page
from diptych.store.sqlite.outside import events_file, has_table, open_outside
from diptych.store.sqlite.views import views_file


def peek(events: str, views: str, projections: Collection[Watched]) -> Look:
    """Return the end of the log and the place of each projection.

    :raises StoreError: a file cannot be read, is not ours, or is of another history. :raises StoreNewerThanCodeError:
    """
    log = open_outside(events_file(events))
    rows = open_outside(views_file(views)) if Path(views).exists() else None
    try:
        if not has_table(log, "events"):
            return Look(events, Head(), [Seen(one.name, Checkpoint(), None, []) for one in projections])
        if rows is not None and has_table(rows, "view_store"):
            _check_history(log, rows, views)
        head = read_head(log)
        return Look(events, head, [_look(log, log if one.is_inline else rows, one, head) for one in projections])
    except apsw.Error as error:
        raise translate(error, events) from error
    finally:
        log.close()
        if rows is not None:
            rows.close()


def _check_history(log: apsw.Connection, rows: apsw.Connection, views: str) -> None:
    store, kept = log.execute("SELECT store_id FROM store").get, rows.execute("SELECT store_id FROM view_store").get
    position = rows.execute("SELECT coalesce(max(position), 0) FROM projection_checkpoints").get
    if store != kept or position > read_head(log).position:
        raise OtherHistoryError(f"{views} (delete it and it is built again)", position)


def _look(log: apsw.Connection, rows: apsw.Connection | None, one: Watched, head: Head) -> Seen:
    checkpoint, parked = Checkpoint(), list[ParkedEvent]()
    if rows is not None and has_table(rows, "view_store"):
        live = read_live(rows, one.name)
        checkpoint = min(read_places(rows, one.name, live), default=checkpoint)
        parked = read_parked(rows, one.name, live)
    return Seen(one.name, checkpoint, _first_after(log, checkpoint.position, one.types, head.position), parked)


def _first_after(log: apsw.Connection, after: int, types: frozenset[str], head: int) -> StoredEvent | None:
    while after < head:
        page = read_page(log, after, types, 1)
        if page.events:
            return page.events[0]
        after = page.scanned
    return None
