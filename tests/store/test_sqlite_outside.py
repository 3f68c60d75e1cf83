"""Looking into a file from outside: what is no store of ours is refused, and left as it was."""

from pathlib import Path

import apsw
import pytest

from diptych.errors import StoreError
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.health import checks
from diptych.store.sqlite.outside import events_file, open_outside


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
