"""What every view store says of two builds of a projection: whether they stand at one place, and which rows differ.

Rule: it is of one snapshot.
"""

from types import SimpleNamespace

from diptych.store.batches import ProjectionTables, RowChanges
from diptych.store.protocols import ViewStore
from diptych.store.tables import Column, Kind, Table
from diptych.testing.contracts.view_generations import NEWER, ViewGenerationsContract, rows, to
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally, batch

PLACED = Table(TALLY.name, (*TALLY.columns, Column("place", Kind.TEXT)), ("name", "place"), (), TALLY.build)


class ViewComparingContract(ViewGenerationsContract):
    """Comparing generations."""

    async def test_equal_generations_compare_equal(self, views: ViewStore) -> None:
        """P3: so that a rebuild can be shown to be the same."""
        built = await views.generations.begin(NEWER)
        await views.commit(batch(TALLIES, rows(1, 2), to=4))
        await views.commit(to(built, 3, rows(1)))
        compared = await views.generations.compare("tallies", 2, built.number)
        assert (compared.is_at_one_position, compared.positions, compared.is_equal) == (False, (4, 3), False)
        await views.commit(to(built, 4, rows(1, 2), after=3))
        opened: list[bool] = []
        compared = await views.generations.compare("tallies", 2, built.number, opened=lambda: opened.append(True))
        assert (compared.is_at_one_position, compared.is_equal, opened) == (True, True, [True])
        assert [(one.table, one.rows) for one in compared.tables] == [("tally", (2, 2))]

    async def test_differing_rows_are_counted_and_shown(self, views: ViewStore) -> None:
        built = await views.generations.begin(NEWER)
        await views.commit(batch(TALLIES, rows(1, 2, 3), to=4))
        changed = [Tally(name="b", total=5), Tally(name="c", total=3), Tally(name="d", total=9)]
        await views.commit(to(built, 4, RowChanges(TALLY, changed)))
        (table,) = (await views.generations.compare("tallies", 2, built.number, samples=2)).tables
        assert (table.rows, table.differing, len(table.samples)) == ((3, 3), 3, 2)
        assert list(table.samples) == [
            (("a",), {"name": "a", "total": 1}, None),
            (("b",), {"name": "b", "total": 2}, {"name": "b", "total": 5}),
        ]

    async def test_rows_with_another_key_are_all_others(self, views: ViewStore) -> None:
        """No row of one is known to be a row of the other."""
        built = await views.generations.begin(ProjectionTables("tallies", (PLACED,)))
        await views.commit(batch(TALLIES, rows(1, 2), to=4))
        await views.commit(to(built, 4, RowChanges(PLACED, [SimpleNamespace(name="a", total=1, place="York")])))
        (table,) = (await views.generations.compare("tallies", 2, built.number)).tables
        assert (table.rows, table.differing, list(table.samples)) == ((2, 1), 3, [])
