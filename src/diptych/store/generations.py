"""Builds of a projection, each in tables of its own: begun beside the live one, compared, swapped, kept, dropped.

Rule: which generation is read is one row, and the only thing that a swap or a roll-back changes.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol

from diptych.store.batches import ProjectionTables
from diptych.store.tables import Table

GenerationState = Literal["live", "building", "kept"]


class Generation(NamedTuple):
    """One build of a projection. Its number is unique among all builds of a store.

    `version`, `shape` (a digest of its tables) and `lanes` say which code may work on it; `code` is a hash of that
    code's methods, a hint. `tables` are plain names: `order_summary` is kept as `order_summary__g7`. `since` is when
    it came into its state, in microseconds since 1970.
    """

    projection: str
    number: int
    state: GenerationState
    version: int
    shape: str
    lanes: int
    code: str
    tables: tuple[str, ...]
    is_indexed: bool
    since: int

    def fits(self, projection: ProjectionTables) -> bool:
        """Whether code that declares these tables may work on it."""
        return (self.version, self.shape, self.lanes) == (projection.version, projection.shape, projection.lanes)


class TableDifference(NamedTuple):
    """How the rows of one table differ in two generations, over the columns that both have.

    `samples` are keys with the row of either side as mappings, None where one side has no such row.
    """

    table: str
    rows: tuple[int, int]
    differing: int
    samples: Sequence[tuple[tuple[Any, ...], dict[str, Any] | None, dict[str, Any] | None]]


class Comparison(NamedTuple):
    """Two generations in one snapshot. Only where every lane stands at one position in both does it mean anything."""

    is_at_one_position: bool
    positions: tuple[int, int]  # the least of the lanes of each
    tables: Sequence[TableDifference]

    @property
    def is_equal(self) -> bool:
        """Whether every row is the same."""
        return not any(each.differing for each in self.tables)


class Generations(Protocol):
    """The builds of the projections of one view store."""

    async def all(self, projection: str | None = None) -> Sequence[Generation]:
        """Return the generations of a projection, or of all, by number."""
        ...

    async def begin(self, projection: ProjectionTables) -> Generation:
        """Make the tables of a new generation, without indexes, its lanes at the beginning; readers see none of it.

        One that is being built for these tables, this version and this code is returned as it is, so that a build that
        was interrupted goes on. Another one that is being built is dropped.
        """
        ...

    async def index(self, projection: str, number: int) -> None:
        """Make the indexes that `begin` left out; done again it does nothing."""
        ...

    async def swap(self, projection: str, number: int) -> None:
        """From now on this generation is read; the one that was live is kept as it is. To roll back, swap again.

        :raises SwapRefusedError: a lane of it is behind where that lane stands in the live one, or it is not there.
        A kept one is taken at any position.
        """
        ...

    async def drop(self, projection: str, number: int) -> None:
        """Drop its tables and all that is said of it. :raises SwapRefusedError: it is live."""
        ...

    async def accept(self, projection: str, number: int, code: str) -> None:
        """Note that it is as good as if this code had built it. :raises SwapRefusedError: it is not there."""
        ...

    async def compare(
        self, projection: str, old: int, new: int, *, samples: int = 5, opened: Callable[[], None] | None = None
    ) -> Comparison:
        """Compare the rows of two generations in one snapshot. `opened` is called once the snapshot stands.

        From then on both may move, and the comparison is of what was: it is called in any thread.
        """
        ...

    async def size(self, projection: str, number: int) -> int:
        """Bytes that its tables and their indexes take on disk."""
        ...

    async def unfenced(self, projection: str) -> Sequence[str]:
        """Return the names of its tables that anybody can write: their fence is missing, off or changed (DP103)."""
        ...


def fitting(generations: Sequence[Generation], projections: Sequence[ProjectionTables]) -> set[str]:
    """Return the names of those projections whose live generation the code may work on."""
    live = {one.projection: one for one in generations if one.state == "live"}
    return {one.name for one in projections if one.name in live and live[one.name].fits(one)}


@lru_cache(maxsize=4096)
def _placed(identity: int, table: Table, number: int) -> Table:
    return Table(placed_name(table.name, number), table.columns, table.key, table.indexes, table.build)


def placed(table: Table, number: int) -> Table:
    """Return the table as a generation keeps it, always the same object for the same two."""
    return _placed(id(table), table, number)


def placed_name(name: str, number: int) -> str:
    """Return the name of a generation's table."""
    return f"{name}__g{number}"
