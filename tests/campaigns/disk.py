"""A disk that remembers every write and sync, and what it may hold after the power failed at any of them.

Rule: what was synced is there; of the rest each 512-byte block may be there or not, in any order. A deletion is sure
once the folder is synced, which SQLite does with the first sync of a new journal or log.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import apsw

SECTOR: Final = 512


class Step(NamedTuple):
    """One thing done to a file: data written at a place, the length cut to a place, a sync, or a deletion."""

    kind: str
    path: str
    at: int = 0
    data: bytes = b""


class Disk:
    """What was done, in order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def image(self, steps: int, random: Random) -> dict[str, bytes]:
        """The files as they may be when power fails after so many steps."""
        files: dict[str, _File] = {}
        for step in self.steps[:steps]:
            file = files.setdefault(step.path, _File())
            if step.kind == "delete" and step.at:
                del files[step.path]
            elif step.kind == "sync":
                if file.content is None and step.path.endswith(("-wal", "-journal")):
                    _sync_folder(files.values())
                file.sync()
            else:
                file.pending.append(step)
        images = {path: file.after_power_cut(random) for path, file in files.items()}
        return {path: content for path, content in images.items() if content is not None}


def _sync_folder(files: Iterable["_File"]) -> None:
    for file in files:
        if any(step.kind == "delete" for step in file.pending):
            file.sync()
            file.content = None


class _File:
    """Bytes that are surely there, and steps that may be lost."""

    def __init__(self) -> None:
        self.content: bytearray | None = None
        self.pending: list[Step] = []

    def sync(self) -> None:
        for step in self.pending:
            self._apply(step)
        self.content = self.content if self.content is not None else bytearray()
        self.pending.clear()

    def after_power_cut(self, random: Random) -> bytes | None:
        for step in self.pending:
            for part in _torn(step):
                if random.random() < 0.5:
                    self._apply(part)
        return None if self.content is None else bytes(self.content)

    def _apply(self, step: Step) -> None:
        if step.kind == "delete":
            self.content = None
            return
        content = self.content if self.content is not None else bytearray()
        if step.kind == "truncate":
            del content[step.at :]
        else:
            content.extend(bytes(max(0, step.at - len(content))))
            content[step.at : step.at + len(step.data)] = step.data
        self.content = content


def _torn(step: Step) -> Iterator[Step]:
    """The pieces of a write that reach the disk or not, each for itself."""
    if step.kind != "write":
        yield step
        return
    start, end = step.at, step.at + len(step.data)
    while start < end:
        border = min(end, (start // SECTOR + 1) * SECTOR)
        yield step._replace(at=start, data=step.data[start - step.at : border - step.at])
        start = border


class _RecordingVFS(apsw.VFS):
    """SQLite's own way to files, overheard; only files in one folder are recorded."""

    def __init__(self, name: str, disk: Disk, folder: Path) -> None:
        self._beneath = apsw.vfs_names()[0]
        super().__init__(name, self._beneath, makedefault=True)
        self._disk, self._folder = disk, str(folder)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or not path.startswith(self._folder):
            return apsw.VFSFile(self._beneath, name, flags)
        return _RecordingFile(self._beneath, name, flags, path, self._disk)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        if filename.startswith(self._folder):
            self._disk.steps.append(Step("delete", filename, int(syncdir)))


class _RecordingFile(apsw.VFSFile):
    def __init__(self, beneath: str, name: Any, flags: list[int], path: str, disk: Disk) -> None:
        super().__init__(beneath, name, flags)
        self._path, self._disk = path, disk

    def xWrite(self, data: Any, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.steps.append(Step("write", self._path, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._disk.steps.append(Step("truncate", self._path, newsize))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._disk.steps.append(Step("sync", self._path))


@contextmanager
def recording(folder: Path) -> Iterator[Disk]:
    """Overhear every SQLite file that is opened in this folder meanwhile."""
    disk = Disk()
    vfs = _RecordingVFS("diptych-recording", disk, folder)
    try:
        yield disk
    finally:
        vfs.unregister()
