"""Places in a folder: a file of events and a file of rows for each side."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from benchmarks.generator import Fact
from benchmarks.place import StoreName
from benchmarks.raw import RawStore, RawViews
from benchmarks.sqlite.store import SqliteRawStore, fill, open_database
from benchmarks.sqlite.views import SqliteRawViews

_SCHEME: Final = "sqlite:///"
_ROWS: Final = "SELECT id, customer_id, status, total_amount, item_count FROM order_summary"


class SqlitePlace:
    """A folder of one side."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @classmethod
    def of(cls, url: str) -> "SqlitePlace":
        """The place that has this URL."""
        return cls(Path(url.removeprefix(_SCHEME)))

    @property
    def url(self) -> str:
        """For `App`."""
        return f"{_SCHEME}{self.file}"

    @property
    def _views(self) -> Path:
        return self.file.with_name(f"{self.file.stem}.views.db")

    async def raw_store(self) -> RawStore:
        """Open the twin's log."""
        return SqliteRawStore(self.file)

    async def raw_views(self) -> RawViews:
        """Open the twin's read side."""
        return SqliteRawViews(self.file, self._views)

    async def raw_fill(self, facts: Iterable[Fact], size: int = 100) -> None:
        """Write the twin's log before anything is measured."""
        fill(self.file, facts, size)

    async def rows(self) -> Sequence[tuple[Any, ...]]:
        """Return what Diptych's projection wrote: amounts are whole pence there."""
        views = open_database(self._views)
        found: list[tuple[Any, ...]] = views.execute(_ROWS).fetchall()
        views.close()
        return found

    async def forget_rows(self) -> None:
        """Delete the file of rows and what belongs to it."""
        for file in self.file.parent.glob(f"{self._views.name}*"):
            file.unlink()


class SqliteDatabase:
    """Makes places in a folder."""

    name: StoreName = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def places(self, workload: str) -> AsyncIterator[Callable[[str], SqlitePlace]]:
        """A folder for each side, all in a temporary one."""
        with tempfile.TemporaryDirectory(prefix=f"diptych-{workload.lower()}-", dir=self._folder) as temporary:

            def place(side: str) -> SqlitePlace:
                folder = Path(temporary, side)
                folder.mkdir()
                return SqlitePlace(folder / "shop.db")

            yield place

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """What SQLite it is, and what it waits for."""
        return {
            "versions": {"sqlite": apsw.sqlite_lib_version()},
            "durability": {
                "events": "journal_mode=WAL, synchronous=FULL",
                "views": "journal_mode=WAL, synchronous=NORMAL",
            },
        }
