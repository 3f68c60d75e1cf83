"""Looking into a file from outside: what is no store of ours is refused, and left as it was."""

from pathlib import Path

import apsw
import pytest

from diptych.errors import ConfigurationError, DiptychError, StoreError
from diptych.store.batches import Checkpoint
from diptych.store.protocols import Head, StoreSettings
from diptych.store.seen import Seen, Watched
from diptych.store.sqlite.auditing import audited
from diptych.store.sqlite.events import EVENTS_APPLICATION_ID, SqliteEventStore
from diptych.store.sqlite.health import checks
from diptych.store.sqlite.outside import events_file, open_outside, outside
from diptych.store.sqlite.peek import peek, peek_at_rows
from diptych.store.sqlite.shapes import VIEWS_APPLICATION_ID
from diptych.testing.contracts.events_samples import event, stream, to


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with apsw.Connection(str(path)) as other:
        other.execute("PRAGMA application_id = 77; CREATE TABLE notes (text)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError):
        open_outside(events_file(str(path)))
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and more than a hundred bytes of them: " * 20)
    with pytest.raises(StoreError):
        open_outside(events_file(str(path)))


def test_a_file_that_nobody_wrote_to_yet_is_well(tmp_path: Path) -> None:
    """It gets its schema when the service starts."""
    events, views = tmp_path / "shop.db", tmp_path / "shop.views.db"
    events.touch()
    views.touch()
    found = {check.name: check.result.name for check in checks(str(events), str(views), StoreSettings())}
    assert (found["events file"], found["views file"]) == ("OK", "OK")


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.anyio
async def test_looking_at_a_store_at_rest_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """Nobody has it open, so it is read as it lies; a service that starts meanwhile is in nobody's way."""
    store = SqliteEventStore(str(tmp_path / "shop.db"))
    await store.open()
    await store.append(to(stream(), event()))
    await store.close()
    before = files_in(tmp_path)
    connection = open_outside(events_file(str(tmp_path / "shop.db")))
    assert connection.execute("SELECT count(*) FROM events").get == 1
    assert files_in(tmp_path) == before
    connection.close()
    assert files_in(tmp_path) == before


def strange(path: Path, application_id: int, table: str) -> str:
    """A file that says it is ours, and has a table that is not as ours."""
    with apsw.Connection(str(path)) as made:
        made.execute(f"PRAGMA application_id = {application_id}; PRAGMA user_version = 1; CREATE TABLE {table} (x)")
    made.close()
    return str(path)


@pytest.mark.anyio
async def test_a_file_without_a_log_is_said_to_have_none_and_one_that_is_strange_is_named(tmp_path: Path) -> None:
    """X2, X4"""
    empty = strange(tmp_path / "empty.db", EVENTS_APPLICATION_ID, "notes")
    for opened in (outside(empty), audited(empty)):
        with pytest.raises(ConfigurationError, match=r"empty\.db has no log yet: the service has not run"), opened:
            raise AssertionError("there is nothing to look at")
    seen = peek(empty, None, [Watched("orders", False, frozenset())])
    assert (seen.head, seen.projections) == (Head(), [Seen("orders", Checkpoint(), None, [])])
    path = strange(tmp_path / "shop.db", EVENTS_APPLICATION_ID, "events")
    with outside(path) as looked, audited(path) as read:
        for asked in (looked.head(), looked.kinds(), read.head(), read.streams(0)):
            with pytest.raises(DiptychError, match=r"shop\.db"):
                await asked
    with pytest.raises(DiptychError, match=r"shop\.db"):
        peek(path, None, [])


def test_rows_that_are_not_there_are_none_and_strange_ones_are_named(tmp_path: Path) -> None:
    watched = [Watched("orders", False, frozenset())]
    assert peek_at_rows(str(tmp_path / "gone.db"), watched) is None
    assert peek_at_rows(strange(tmp_path / "empty.db", VIEWS_APPLICATION_ID, "notes"), watched) is None
    path = strange(tmp_path / "shop.views.db", VIEWS_APPLICATION_ID, "view_store")
    with pytest.raises(DiptychError, match=r"shop\.views\.db"):
        peek_at_rows(path, watched)
