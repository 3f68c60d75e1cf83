"""Looking into a file from outside: what is no store of ours is refused, and left as it was."""

from pathlib import Path

import apsw
import pytest

from diptych.errors import StoreError
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.events import SqliteEventStore
from diptych.store.sqlite.health import checks
from diptych.store.sqlite.outside import events_file, open_outside
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
