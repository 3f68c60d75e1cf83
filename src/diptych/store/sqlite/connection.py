"""Opening SQLite files, and saying in our own errors what SQLite says in its.

Rule: no other file opens a connection, and whoever talks to SQLite passes its errors through `translate`.
"""

import errno
import os
from dataclasses import dataclass
from urllib.parse import quote

import apsw

from diptych.errors import (
    AccessDeniedError,
    DiptychError,
    InvalidInputError,
    ProgrammingError,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreMovedError,
    StoreNewerThanCodeError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from diptych.store.sqlite.fence import let_in

_WRITE_FAILED = (apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_TRUNCATE, apsw.SQLITE_IOERR_SHMSIZE)
_READER_PATIENCE = 100  # milliseconds
MOVED = "this store was moved to "
"""How the message of the triggers that refuse appends to a moved file begins."""
_NO_SPACE = (0, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """Which file, through which VFS, and whose it is: `application_id` and the newest schema this code knows.

    A path that starts with `file:` is an SQLite URI, which is how a database in memory is named.
    """

    path: str
    application_id: int
    schema: int
    vfs: str | None = None
    is_at_rest: bool = False  # nobody has it open: it is read as it lies, and nothing is left beside it

    @property
    def is_in_memory(self) -> bool:
        """Whether it lives in this process alone: then it has no lock file and no write-ahead log."""
        return self.path.startswith("file:") and "memdb" in self.path

    @property
    def is_on_disk(self) -> bool:
        """Whether the path is one of the operating system's."""
        return self.vfs is None and not self.is_in_memory

    @property
    def lock_path(self) -> str | None:
        """The file on which the writers of several processes queue; None for a database in memory."""
        return None if self.is_in_memory else f"{self.path}-writer"


def open_writer(file: DatabaseFile, *, synchronous: str, lock_timeout: float) -> apsw.Connection:
    """Open for writing, creating the file when it is not there; a file that is not ours is left untouched.

    :raises StoreNewerThanCodeError: a newer Diptych wrote it.
    :raises StoreCorruptedError: it is not a database, or another program's.
    """
    connection = _open(file, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    try:
        connection.set_busy_timeout(int(lock_timeout * 1000))
        check_ours(connection, file)
        _choose_journal(connection, file)
        connection.execute(f"PRAGMA synchronous = {'normal' if synchronous == 'normal' else 'full'}")
        let_in(connection)
        connection.execute("PRAGMA foreign_keys = off")
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA temp_store = memory")
        connection.wal_autocheckpoint(0)
    except BaseException as error:
        connection.close(True)
        if isinstance(error, apsw.Error | OSError):
            raise translate(error, file.path) from error
        raise
    return connection


def open_reader(file: DatabaseFile) -> apsw.Connection:
    """Open for reading alone: SQLite itself refuses every write on this connection.

    It hardly waits for locks: readers only meet one when another program has the whole file for itself, and some of
    them run on the event loop, which would stand still.
    """
    connection = _open(file, apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(_READER_PATIENCE)
        connection.execute("PRAGMA query_only = on")
        connection.execute("PRAGMA cache_size = -8000")
    except apsw.Error as error:
        connection.close(True)
        raise translate(error, file.path) from error
    return connection


def check_ours(connection: apsw.Connection, file: DatabaseFile) -> int:
    """Return the schema version the file has (0: it is empty), or refuse a file that is not ours."""
    application_id, version = connection.pragma("application_id"), connection.pragma("user_version")
    if application_id == file.application_id:
        if version > file.schema:
            raise StoreNewerThanCodeError(file.path, version, file.schema)
        return int(version)
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if application_id == 0 and version == 0 and tables == 0:
        return 0
    raise StoreCorruptedError(
        f"{file.path} is an SQLite database of another program (application id {application_id}, "
        f"{tables} tables); nothing was changed. Give Diptych a file of its own."
    )


def translate(error: BaseException, path: str, system_errno: int = 0) -> DiptychError:
    """Return our error for one of SQLite's or of the operating system, as a sentence that names the file.

    `system_errno` is the connection's, when it is still at hand: it tells a full disk from a broken one.
    """
    if isinstance(error, DiptychError):
        return error
    extended = getattr(error, "extendedresult", 0)
    if isinstance(error, OSError):
        return _from_system(error, path)
    if not isinstance(error, apsw.Error):
        return _corrupted(error, path)  # what was read is not what can have been written
    if isinstance(error, apsw.IOError):
        if extended in _WRITE_FAILED and system_errno in _NO_SPACE:
            return _full(error, path)
        return StoreUnavailableError(f"{path}: the disk failed ({error}). Nothing was stored; look at the disk.")
    if isinstance(error, apsw.ConstraintError) and MOVED in str(error):
        return StoreMovedError(path, str(error).partition(MOVED)[2])
    for kind, make in _TRANSLATIONS.items():
        if isinstance(error, kind):
            return make(error, path)
    return ProgrammingError(f"{path}: SQLite refused the statement: {error}")


def _open(file: DatabaseFile, flags: int) -> apsw.Connection:
    path = f"file:{quote(os.path.abspath(file.path))}?immutable=1" if file.is_at_rest else file.path
    if path.startswith("file:"):
        flags |= apsw.SQLITE_OPEN_URI
    try:
        connection = apsw.Connection(path, flags=flags, vfs=file.vfs, statementcachesize=200)
        # Else binding a value that the planner looked at makes SQLite prepare a cached statement anew, each time.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        return connection
    except apsw.Error as error:
        raise translate(error, file.path) from error


def _choose_journal(connection: apsw.Connection, file: DatabaseFile) -> None:
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal" and not file.is_in_memory:
        raise StoreUnavailableError(
            f"{file.path}: this disk cannot hold a write-ahead log (journal mode is {mode}). Use a local disk."
        )


def _from_system(error: OSError, path: str) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return _full(error, path)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return _read_only(error, path)
    if error.errno == errno.ENOENT:
        folder = os.path.dirname(os.path.abspath(path))
        return StoreUnavailableError(f"{path} cannot be opened: there is no folder {folder}. Make it, or mend the URL.")
    return StoreUnavailableError(f"{path}: {error}. Nothing was stored; try again when the cause is gone.")


def _full(error: BaseException, path: str) -> StoreFullError:
    return StoreFullError(f"{path}: no space left ({error}). Nothing was stored; free some space and try again.")


def _read_only(error: BaseException, path: str) -> StoreReadOnlyError:
    return StoreReadOnlyError(f"{path} cannot be written ({error}). Check its permissions, its folder's and the disk.")


def _busy(error: BaseException, path: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"{path} is locked by another program ({error}). Nothing was stored; try again.")


def _corrupted(error: BaseException, path: str) -> StoreCorruptedError:
    return StoreCorruptedError(f"{path} is damaged or not a database ({error}). Restore it from a backup.")


def _unavailable(error: BaseException, path: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"{path} cannot be used ({error}). Nothing was stored; try again.")


def _cannot_open(error: BaseException, path: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"{path} cannot be opened ({error}). Check that its folder is there and yours.")


def _denied(error: BaseException, path: str) -> AccessDeniedError:
    return AccessDeniedError(f"{path}: the read side may only read registered tables ({error}) (rule DP101).")


def _too_big(error: BaseException, path: str) -> InvalidInputError:
    return InvalidInputError(f"{path}: a value is too large to store ({error}). Send less.")


_TRANSLATIONS = {
    apsw.FullError: _full,
    apsw.ReadOnlyError: _read_only,
    apsw.PermissionsError: _read_only,
    apsw.BusyError: _busy,
    apsw.LockedError: _busy,
    apsw.ProtocolError: _busy,
    apsw.NotADBError: _corrupted,
    apsw.CorruptError: _corrupted,
    apsw.FormatError: _corrupted,
    apsw.CantOpenError: _cannot_open,
    apsw.AuthError: _denied,
    apsw.TooBigError: _too_big,
    apsw.NoMemError: _unavailable,
    apsw.InterruptError: _unavailable,
    apsw.AbortError: _unavailable,
    apsw.SchemaChangeError: _unavailable,
    apsw.ConnectionClosedError: _unavailable,
}
