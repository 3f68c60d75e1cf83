"""What the tests of the stores share: a disk of SQLite that fails, a session of PostgreSQL's owner."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from diptych.store.postgres.connection import Connection, database_of, open_connection


class FaultyDisk(apsw.VFS):
    """The real disk, until told to fail: `fails` maps a call (`xSync`, `xWrite`) to the extended result it gives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fails: dict[str, int] = {}
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _FaultyFile(self, name, flags)


class _FaultyFile(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk, self._is_log = disk, bool(flags[0] & apsw.SQLITE_OPEN_WAL)

    def xSync(self, flags: int) -> None:
        self._fail("xSync")
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._fail("xWrite")
        super().xWrite(data, offset)

    def _fail(self, call: str) -> None:
        result = self._disk.fails.get(call, 0)
        if result and self._is_log:
            error: Any = apsw.FullError(call) if result == apsw.SQLITE_FULL else apsw.IOError(call)
            error.extendedresult = result
            raise error


@pytest.fixture
def faulty_disk() -> Iterator[FaultyDisk]:
    """A disk that fails when told to."""
    disk = FaultyDisk("diptych-faulty")
    yield disk
    disk.unregister()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a test's file is."""
    return str(tmp_path / "shop.db")


@pytest.fixture
async def owner(postgres_url: str) -> AsyncIterator[Connection]:
    """A session of the owner of the tables, who is a superuser at that, in the schema."""
    database = database_of(postgres_url)[0]
    connection = await open_connection(database, {"search_path": database.schema})
    yield connection
    await connection.close()
