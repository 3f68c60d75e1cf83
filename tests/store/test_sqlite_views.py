"""What the file of rows stands: rows with very many columns, and tables that somebody dropped by hand."""

from pathlib import Path
from typing import Annotated, Any

import apsw
import pytest
from pydantic import create_model

from diptych.read.models import Key, ReadModel, table_of
from diptych.store.batches import Load, ProjectionTables, RowChanges
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.views import SqliteViewStore, temporary_view_store, views_file
from diptych.testing.contracts.view_rows import STORE, TALLIES, TALLY, Tally, batch

pytestmark = pytest.mark.anyio

_COLUMNS: dict[str, Any] = {f"c{number}": (int, ...) for number in range(150)}
Broad = create_model("Broad", __base__=ReadModel, id=(Annotated[int, Key], ...), **_COLUMNS)
BROAD = table_of(Broad)


def broad(id: int) -> Any:
    return Broad.model_validate({"id": id, **{name: id + at for at, name in enumerate(_COLUMNS)}})


async def test_many_rows_with_very_many_columns_are_written() -> None:
    """256 of them have more values than SQLite takes in one statement."""
    store = temporary_view_store(StoreSettings())
    await store.open([ProjectionTables("shop", (BROAD,))], store_id=STORE)
    rows = [broad(number) for number in range(600)]
    await store.commit(batch(ProjectionTables("shop", (BROAD,)), RowChanges(BROAD, rows)))
    found = (await store.load(1, [Load(BROAD, ("id",), [(number,) for number in range(600)])]))[BROAD.name]
    assert sorted(found, key=lambda row: row.id) == rows
    await store.close()


async def test_a_generation_whose_table_was_dropped_by_hand_is_made_anew(tmp_path: Path) -> None:
    """P2: its checkpoint is not believed without its rows."""
    file = views_file(str(tmp_path / "shop.views.db"))
    store = SqliteViewStore(file, StoreSettings())
    await store.open([TALLIES], store_id=STORE)
    await store.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="one", total=1)]), generation=1))
    assert (await store.checkpoint(TALLIES.name)).position == 1
    await store.close()
    with apsw.Connection(file.path) as owner:
        (table,) = [
            name for (name,) in owner.execute("SELECT name FROM sqlite_schema WHERE type = 'table'") if "tally" in name
        ]
        owner.execute("PRAGMA foreign_keys = off")
        owner.execute(f'DROP TABLE "{table}"')
    owner.close()
    again = SqliteViewStore(file, StoreSettings())
    await again.open([TALLIES], store_id=STORE)
    assert (await again.checkpoint(TALLIES.name)).position == 0
    number = (await again.generations.all(TALLIES.name))[-1].number
    await again.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="two", total=2)]), generation=number))
    found = (await again.load(number, [Load(TALLY, ("name",), [("one",), ("two",)])]))[TALLY.name]
    assert [row.name for row in found] == ["two"]
    await again.close()
