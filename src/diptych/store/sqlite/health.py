"""What can be seen of the health of a service's two files, and of the disk and the library under them.

Rule: nothing of the service is changed; how long a sync takes is tried on a file of our own, gone at once.
"""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import apsw

from diptych.errors import DiptychError
from diptych.store.health import Check, judge, unknown
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.connection import DatabaseFile, check_ours
from diptych.store.sqlite.migrations import migrations
from diptych.store.sqlite.outside import events_file, open_outside
from diptych.store.sqlite.views import views_file

_OLDEST: Final = (3, 51, 3)  # before it, a WAL could be damaged
_SYNCS: Final = 7
_SLOW: Final = 0.1  # seconds for one sync
_TOO_FAST: Final = 0.00002  # no disk does it
_LEAST_FREE: Final = 256 * 1024 * 1024


def checks(events: str, views: str, settings: StoreSettings) -> Iterator[Check]:
    """Look at the library, the files and the disk. A file that is not there yet is no fault."""
    yield from _library()
    folder = Path(events).absolute().parent
    yield judge("folder", folder.is_dir(), str(folder), f"mkdir -p {folder}")
    for part, file in (("events", events_file(events)), ("views", views_file(views))):
        if not Path(file.path).exists():
            yield unknown(f"{part} file", f"{file.path} is not there yet: the service makes it at its first start")
            continue
        yield _wal(part, file.path, settings)
        yield _permissions(part, file.path)
        yield _ours(part, file)
    if folder.is_dir():
        yield _space(folder)
        yield _sync_time(folder)
    what = "every commit waits for the disk"
    if settings.synchronous == "normal":
        what = "a power cut may lose the last commits, as the URL has chosen"
    yield judge("synchronous", True, f"{settings.synchronous}: {what}", "")


def _library() -> Iterator[Check]:
    version = apsw.sqlite_lib_version()
    is_new = tuple(map(int, version.split(".")[:3])) >= _OLDEST
    yield judge("SQLite", is_new, version, "pip install --upgrade apsw")
    options = set(apsw.compile_options)
    missing = sorted({"OMIT_JSON", "OMIT_WAL", "THREADSAFE=0"} & options)
    shown = next((option for option in options if option.startswith("THREADSAFE")), "THREADSAFE unknown")
    detail = f"built with {', '.join(missing)}" if missing else f"{shown}, {len(options)} options"
    yield judge("SQLite options", not missing, detail, "pip install --force-reinstall --only-binary :all: apsw")


def _ours(part: str, file: DatabaseFile) -> Check:
    name, newest = f"{part} file", migrations(part)[-1][0]
    try:
        connection = open_outside(file)
        try:
            version = check_ours(connection, file)
        finally:
            connection.close()
    except DiptychError as error:
        return judge(name, False, str(error), "restore it from a backup, or name the right file in the URL")
    size = Path(file.path).stat().st_size
    return judge(name, version in (0, newest), f"{file.path}, schema {version}, {_bytes(size)}", "diptych db upgrade")


def _permissions(part: str, path: str) -> Check:
    name, mode = f"{part} permissions", Path(path).stat().st_mode
    shown = f"{path} is {stat.filemode(mode)}"
    if not (os.access(path, os.R_OK | os.W_OK) and os.access(Path(path).absolute().parent, os.W_OK | os.X_OK)):
        user = os.getuid() if hasattr(os, "getuid") else "this user"
        return judge(name, False, f"{shown}, and user {user} cannot write it or its folder", f"chown it to {user}")
    return judge(
        name, not mode & stat.S_IWOTH, f"{shown}, everybody may write it" if mode & 2 else shown, f"chmod o-w {path}"
    )


def _wal(part: str, path: str, settings: StoreSettings) -> Check:
    wal = Path(f"{path}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    fix = "find what reads the file for so long (a backup, a shell), and end it: the writer then truncates the log"
    return judge(f"{part} WAL", size <= 2 * settings.wal_limit, _bytes(size), fix)


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    return judge("disk space", free >= _LEAST_FREE, f"{_bytes(free)} free in {folder}", "free some space")


def _sync_time(folder: Path) -> Check:
    times = []
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".diptych-doctor-") as file:
            for _ in range(_SYNCS):
                file.write(bytes(4096))
                file.flush()
                begun = time.perf_counter()
                os.fsync(file.fileno())
                times.append(time.perf_counter() - begun)
    except OSError as error:
        return unknown("sync time", error)
    taken = median(times)
    shown = f"{taken * 1000:.2f} ms, the median of {_SYNCS}"
    if taken < _TOO_FAST:
        return unknown("sync time", f"{shown}: no disk is that fast. Is it one in memory, or does it not wait?")
    return judge("sync time", taken <= _SLOW, shown, "move the files to a local disk; every append waits that long")


def _bytes(count: int) -> str:
    size, units = float(count), iter(("B", "KB", "MB", "GB", "TB"))
    unit = next(units)
    while size >= 1000 and unit != "TB":
        size, unit = size / 1000, next(units)
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
