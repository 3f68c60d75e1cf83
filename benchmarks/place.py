"""Where a side of a workload keeps its data: all that the workloads know of the database they run on.

Rule: a place is found by its URL alone, so that a child process finds it, too.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Literal, Protocol

from benchmarks.generator import Fact
from benchmarks.raw import RawStore, RawViews

StoreName = Literal["sqlite", "postgresql"]
STORES: Final[tuple[StoreName, ...]] = ("sqlite", "postgresql")


class Place(Protocol):
    """One side's own place: Diptych finds it by `url`; the rest is for the twin, and for whoever checks."""

    @property
    def url(self) -> str:
        """For `App`, and for `place_of` in a child."""

    async def raw_store(self) -> RawStore:
        """Open the twin's log."""

    async def raw_views(self) -> RawViews:
        """Open the twin's read side."""

    async def raw_fill(self, facts: Iterable[Fact], size: int = 100) -> None:
        """Write the twin's log before anything is measured."""

    async def rows(self) -> Sequence[tuple[Any, ...]]:
        """Return what Diptych's projection wrote, as `RawViews.rows` does."""

    async def forget_rows(self) -> None:
        """Have the read side, whoever's it is, begin at 0 when it is next opened."""


class Database(Protocol):
    """What a run takes place on."""

    @property
    def name(self) -> StoreName:
        """As it is chosen on the command line."""

    def places(self, workload: str) -> AbstractAsyncContextManager[Callable[[str], Place]]:
        """Make places for the sides of a workload, each by its name; at the end they are deleted."""

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """Its `versions` and its settings of `durability`."""


def place_of(url: str) -> Place:
    """Return the place that has this URL."""
    if url.startswith("sqlite:"):
        from benchmarks.sqlite.place import SqlitePlace

        return SqlitePlace.of(url)
    from benchmarks.postgres.place import PostgresPlace

    return PostgresPlace(url)


@asynccontextmanager
async def raw_store(place: Place) -> AsyncIterator[RawStore]:
    """Open the twin's log for a block."""
    store = await place.raw_store()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def raw_views(place: Place) -> AsyncIterator[RawViews]:
    """Open the twin's read side for a block."""
    views = await place.raw_views()
    try:
        yield views
    finally:
        await views.close()
