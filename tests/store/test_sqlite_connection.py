"""With which settings a file is opened for writing: what a power cut may take is decided there."""

from pathlib import Path

import pytest

from diptych.store.sqlite.connection import open_writer
from diptych.store.sqlite.outside import events_file


@pytest.mark.parametrize(("chosen", "kept"), [("full", 2), ("normal", 1), ("anything", 2)])
def test_every_commit_is_synced_unless_somebody_chose_otherwise(tmp_path: Path, chosen: str, kept: int) -> None:
    """L1"""
    connection = open_writer(events_file(str(tmp_path / "shop.db")), synchronous=chosen, lock_timeout=2.5)
    found = {name: connection.execute(f"PRAGMA {name}").get for name in ("synchronous", "journal_mode", "busy_timeout")}
    assert found == {"synchronous": kept, "journal_mode": "wal", "busy_timeout": 2500}
    assert connection.execute("PRAGMA wal_autocheckpoint").get == 0
    connection.close()
