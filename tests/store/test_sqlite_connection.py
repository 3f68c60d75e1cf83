"""With which settings a file is opened, and what becomes of SQLite's errors."""

import errno
from pathlib import Path
from typing import Any

import apsw
import pytest

from diptych.errors import (
    AccessDeniedError,
    InvalidInputError,
    ProgrammingError,
    StoreCorruptedError,
    StoreFullError,
    StoreMovedError,
    StoreNewerThanCodeError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from diptych.store.sqlite.connection import MOVED, DatabaseFile, check_ours, open_reader, open_writer, translate
from diptych.store.sqlite.outside import events_file


@pytest.mark.parametrize(("chosen", "kept"), [("full", 2), ("normal", 1), ("anything", 2)])
def test_every_commit_is_synced_unless_somebody_chose_otherwise(tmp_path: Path, chosen: str, kept: int) -> None:
    """L1"""
    connection = open_writer(events_file(str(tmp_path / "shop.db")), synchronous=chosen, lock_timeout=2.5)
    found = {name: connection.execute(f"PRAGMA {name}").get for name in ("synchronous", "journal_mode", "busy_timeout")}
    assert found == {"synchronous": kept, "journal_mode": "wal", "busy_timeout": 2500}
    assert connection.execute("PRAGMA wal_autocheckpoint").get == 0
    connection.close()


@pytest.mark.parametrize(
    ("error", "kind", "why"),
    [
        (apsw.FullError("full"), StoreFullError, "no space left (full). Nothing was stored; free some space"),
        (apsw.ReadOnlyError("ro"), StoreReadOnlyError, "cannot be written (ro). Check its permissions"),
        (apsw.PermissionsError("perm"), StoreReadOnlyError, "cannot be written (perm)"),
        (apsw.BusyError("busy"), StoreUnavailableError, "is locked by another program (busy). Nothing was stored"),
        (apsw.LockedError("locked"), StoreUnavailableError, "is locked by another program (locked)"),
        (apsw.ProtocolError("race"), StoreUnavailableError, "is locked by another program (race)"),
        (apsw.NotADBError("not"), StoreCorruptedError, "is damaged or not a database (not). Restore it from a backup"),
        (apsw.CorruptError("torn"), StoreCorruptedError, "is damaged or not a database (torn)"),
        (apsw.FormatError("format"), StoreCorruptedError, "is damaged or not a database (format)"),
        (apsw.CantOpenError("gone"), StoreUnavailableError, "cannot be opened (gone). Check that its folder is there"),
        (apsw.AuthError("no"), AccessDeniedError, "the read side may only read registered tables (no) (rule DP101)"),
        (apsw.TooBigError("huge"), InvalidInputError, "a value is too large to store (huge). Send less"),
        (apsw.NoMemError("mem"), StoreUnavailableError, "cannot be used (mem). Nothing was stored; try again"),
        (apsw.InterruptError("stop"), StoreUnavailableError, "cannot be used (stop)"),
        (apsw.ConnectionClosedError("closed"), StoreUnavailableError, "cannot be used (closed)"),
        (apsw.SQLError("near x"), ProgrammingError, "SQLite refused the statement: near x"),
        (apsw.ConstraintError("x"), ProgrammingError, "SQLite refused the statement: x"),
        (apsw.ConstraintError(f"{MOVED}postgresql://db/shop"), StoreMovedError, "postgresql://db/shop"),
        (ValueError("no JSON"), StoreCorruptedError, "is damaged or not a database (no JSON)"),
        (OSError(errno.ENOSPC, "full"), StoreFullError, "no space left"),
        (OSError(errno.EDQUOT, "quota"), StoreFullError, "no space left"),
        (OSError(errno.EFBIG, "large"), StoreFullError, "no space left"),
        (OSError(errno.EROFS, "ro"), StoreReadOnlyError, "cannot be written"),
        (OSError(errno.EACCES, "denied"), StoreReadOnlyError, "cannot be written"),
        (OSError(errno.EPERM, "denied"), StoreReadOnlyError, "cannot be written"),
        (OSError(errno.EIO, "broken"), StoreUnavailableError, "Nothing was stored; try again when the cause is gone"),
    ],
)
def test_what_sqlite_and_the_system_say_becomes_whose_it_is_to_mend(error: Exception, kind: type, why: str) -> None:
    """X2, X4"""
    found = translate(error, "shop.db")
    assert type(found) is kind
    assert str(found).startswith("shop.db")
    assert why in str(found)


@pytest.mark.parametrize(
    ("extended", "system_errno", "kind"),
    [
        (apsw.SQLITE_IOERR_WRITE, 0, StoreFullError),
        (apsw.SQLITE_IOERR_WRITE, errno.ENOSPC, StoreFullError),
        (apsw.SQLITE_IOERR_WRITE, errno.EIO, StoreUnavailableError),
        (apsw.SQLITE_IOERR_TRUNCATE, errno.EDQUOT, StoreFullError),
        (apsw.SQLITE_IOERR_SHMSIZE, errno.EFBIG, StoreFullError),
        (apsw.SQLITE_IOERR_READ, 0, StoreUnavailableError),
        (apsw.SQLITE_IOERR_FSYNC, errno.ENOSPC, StoreUnavailableError),
    ],
)
def test_a_write_that_failed_for_want_of_space_is_a_full_disk(extended: int, system_errno: int, kind: type) -> None:
    """X2: only such a one is over by itself when there is space again."""
    error: Any = apsw.IOError("disk I/O error")
    error.extendedresult = extended
    assert type(translate(error, "shop.db", system_errno)) is kind


def test_an_error_of_our_own_stays_what_it_is() -> None:
    ours = StoreFullError("full")
    assert translate(ours, "shop.db") is ours


def test_a_place_that_cannot_hold_a_write_ahead_log_is_refused() -> None:
    """L1: with another journal a reader would stop the writers."""
    with pytest.raises(StoreUnavailableError, match=r"cannot hold a write-ahead log \(journal mode is memory\)"):
        open_writer(DatabaseFile(":memory:", 7, 1), synchronous="full", lock_timeout=1.0)
    open_writer(DatabaseFile("file:/wal?vfs=memdb", 7, 1), synchronous="full", lock_timeout=1.0).close()


@pytest.mark.parametrize(
    ("statement", "version"),
    [
        ("", 0),
        ("PRAGMA application_id = 7", 0),
        ("PRAGMA application_id = 7; PRAGMA user_version = 2", 2),
        ("PRAGMA application_id = 7; PRAGMA user_version = 3", StoreNewerThanCodeError),
        ("PRAGMA application_id = 8", StoreCorruptedError),
        ("PRAGMA user_version = 1", StoreCorruptedError),
        ("CREATE TABLE notes (text)", StoreCorruptedError),
    ],
)
def test_a_file_is_ours_by_its_number_or_when_it_is_empty(statement: str, version: Any) -> None:
    connection, file = apsw.Connection(":memory:"), DatabaseFile("shop.db", 7, 2)
    connection.execute(statement)
    if isinstance(version, int):
        assert check_ours(connection, file) == version
    else:
        with pytest.raises(version, match=r"shop\.db"):
            check_ours(connection, file)
    connection.close()


def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    """R4"""
    file = events_file(str(tmp_path / "shop.db"))
    open_writer(file, synchronous="full", lock_timeout=1.0).close()
    reader = open_reader(file)
    assert reader.pragma("query_only") == 1
    assert 0 < reader.execute("PRAGMA busy_timeout").get <= 1000  # milliseconds: some wait on the event loop
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("CREATE TABLE notes (text)")
    reader.close()


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    file = events_file(str(tmp_path / "gone" / "shop.db"))
    with pytest.raises(StoreUnavailableError, match=r"gone/shop\.db cannot be opened"):
        open_reader(file)
    with pytest.raises(StoreUnavailableError, match=r"gone/shop\.db cannot be opened"):
        open_writer(file, synchronous="full", lock_timeout=1.0)
    assert not (tmp_path / "gone").exists()
