"""Statements over plain names, as they are for the generations that are read or worked on."""

import pytest

from diptych.errors import ProgrammingError
from diptych.store import placing
from diptych.store.placing import Known, Placing
from diptych.testing.contracts.view_rows import STOCK, TALLIES, TALLY

PLACED = Placing({"tallies": 7}, {"tally": TALLY}, {"tally": "tallies"})
COMMON = '"tally" AS NOT MATERIALIZED (SELECT * FROM "tally__g7")'


@pytest.mark.parametrize(
    ("sql", "placed"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT total FROM tally", f'WITH {COMMON} SELECT total FROM "tally__g7" AS "tally"'),
        ("SELECT t.total FROM tally t", f'WITH {COMMON} SELECT t.total FROM "tally__g7" t'),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "WITH a AS (SELECT 1) SELECT * FROM a"),
        (
            "WITH a AS (SELECT * FROM tally) SELECT * FROM a",
            f'WITH {COMMON}, a AS (SELECT * FROM "tally__g7" AS "tally") SELECT * FROM a',
        ),
        (
            "WITH RECURSIVE a AS (SELECT 1) SELECT * FROM a, tally",
            f'WITH RECURSIVE {COMMON}, a AS (SELECT 1) SELECT * FROM a, "tally__g7" AS "tally"',
        ),
        ("SELECT 'tally'", "SELECT 'tally'"),
        ("SELECT quantity FROM stock", "SELECT quantity FROM stock"),
    ],
)
def test_a_select_reads_the_tables_of_the_generation(sql: str, placed: str) -> None:
    assert PLACED.read(sql) == placed
    assert PLACED.read(sql) == placed


def test_what_is_no_select_is_left_as_it_is_to_be_refused() -> None:
    assert PLACED.read("DELETE FROM tally") == "DELETE FROM tally"
    assert PLACED.change("DELETE FROM tally").endswith('DELETE FROM "tally__g7" AS "tally"')
    assert PLACED.change("DROP TABLE tally") == "DROP TABLE tally"


@pytest.mark.parametrize("way", [PLACED.read, PLACED.change])
def test_a_generations_own_table_has_no_name_for_users(way: object) -> None:
    assert callable(way)
    with pytest.raises(ProgrammingError, match="tally__g7 is a generation's own table; say tally: SELECT"):
        way("SELECT * FROM tally__g7")


def test_a_table_of_another_projection_is_none_of_these() -> None:
    assert PLACED.table(TALLY).name == "tally__g7"
    assert [table.name for table in PLACED.tables] == ["tally__g7"]
    with pytest.raises(KeyError):
        PLACED.table(STOCK)


def test_a_placing_is_made_once_for_each_generation() -> None:
    known = Known(TALLIES)
    assert known.placing(3) is known.placing(3)
    assert [known.placing(number).table(TALLY).name for number in (3, 4)] == ["tally__g3", "tally__g4"]


def test_what_is_known_of_statements_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """P8"""
    monkeypatch.setattr(placing, "_MOST", 3)
    made = Placing({"tallies": 7}, {"tally": TALLY}, {"tally": "tallies"})
    for number in range(10):
        made.read(f"SELECT {number} FROM tally")
        made.change(f"DELETE FROM tally WHERE total = {number}")
        assert 0 < len(made._reads) <= 3
        assert 0 < len(made._changes) <= 3
