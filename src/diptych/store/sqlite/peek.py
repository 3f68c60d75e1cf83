"""Looks at the two files of a service from outside, to say how far its projections are.

Rule: nothing is created, migrated, locked or started; SQLite itself refuses every write on these connections.
"""

from collections.abc import Collection
from pathlib import Path
from uuid import UUID

import apsw

from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint
from diptych.store.protocols import Head
from diptych.store.seen import Kept, Look, Seen, Watched
from diptych.store.sqlite.changes import read_live, read_parked, read_places
from diptych.store.sqlite.connection import translate
from diptych.store.sqlite.log import read_head, read_page
from diptych.store.sqlite.outside import events_file, has_table, open_outside
from diptych.store.sqlite.views import views_file


def peek(events: str, kept: Kept | None, projections: Collection[Watched]) -> Look:
    """Return the end of the log and the place of each projection; `kept` is of those whose rows are not in its file.

    :raises StoreError: a file cannot be read, is not ours, or is of another history. :raises StoreNewerThanCodeError:
    """
    log = open_outside(events_file(events))
    try:
        if not has_table(log, "events"):
            return Look(events, Head(), [Seen(one.name, Checkpoint(), None, []) for one in projections])
        head = read_head(log)
        if kept is not None:
            kept.check(UUID(log.execute("SELECT store_id FROM store").get), head)
        inline = _kept(log, events, [one for one in projections if one.is_inline])
        return Look(events, head, [_look(log, inline if one.is_inline else kept, one, head) for one in projections])
    except apsw.Error as error:
        raise translate(error, events) from error
    finally:
        log.close()


def peek_at_rows(views: str, projections: Collection[Watched]) -> Kept | None:
    """Return what lies beside the rows in a file, None if there never were any. Raises as `peek` does.

    Look there first: a log only grows, so that no rows are past its end then.
    """
    if not Path(views).exists():
        return None
    rows = open_outside(views_file(views))
    try:
        return _kept(rows, f"{views} (delete it and it is built again)", projections)
    except apsw.Error as error:
        raise translate(error, views) from error
    finally:
        rows.close()


def _kept(rows: apsw.Connection, place: str, projections: Collection[Watched]) -> Kept | None:
    if not has_table(rows, "view_store"):
        return None
    store_id = UUID(rows.execute("SELECT store_id FROM view_store").get)
    furthest = rows.execute("SELECT coalesce(max(position), 0) FROM projection_checkpoints").get
    live = {one.name: read_live(rows, one.name) for one in projections}
    checkpoints = {name: min(read_places(rows, name, number), default=Checkpoint()) for name, number in live.items()}
    parked = {name: read_parked(rows, name, number) for name, number in live.items()}
    return Kept(place, store_id, furthest, checkpoints, parked)


def _look(log: apsw.Connection, kept: Kept | None, one: Watched, head: Head) -> Seen:
    checkpoint = Checkpoint() if kept is None else kept.checkpoints[one.name]
    following = _first_after(log, checkpoint.position, one.types, head.position)
    return Seen(one.name, checkpoint, following, [] if kept is None else kept.parked[one.name])


def _first_after(log: apsw.Connection, after: int, types: frozenset[str], head: int) -> StoredEvent | None:
    while after < head:
        page = read_page(log, after, types, 1)
        if page.events:
            return page.events[0]
        after = page.scanned
    return None
