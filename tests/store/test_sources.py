"""Where statements name tables: what is certain is found, and nothing else is taken for a table."""

import pytest

from diptych.store.placing import Placing
from diptych.store.sources import table_names
from diptych.testing.contracts.view_rows import STOCK, TALLY

PLACING = Placing({"a": 3, "b": 4}, {"tally": TALLY, "stock": STOCK}, {"tally": "a", "stock": "b"})


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT total AS tally FROM tally", "tally"),
        ("SELECT 1 FROM a, tally t, (SELECT x FROM b) c, d", "a tally b d"),
        ("SELECT 1 FROM (a JOIN b USING (c)) JOIN LATERAL (SELECT * FROM d) e ON f = g, h", "a b d h"),
        ("SELECT extract(day FROM tally), trim(both 'x' FROM stock) FROM b", "b"),
        ("SELECT 1 FROM a WHERE x IS NOT DISTINCT FROM tally AND y IN (SELECT z FROM b, c)", "a b c"),
        ("SELECT 1 FROM tally.a, b.tally, stock(1), generate_series(1, 2) AS tally", ""),
        ("SELECT a, tally FROM b GROUP BY c, tally ORDER BY d, stock LIMIT 1", "b"),
        ("SELECT * FROM a UNION SELECT b, tally FROM c", "a c"),
        ('SELECT 1 FROM "Tally" /* FROM tally */ -- FROM stock', "Tally"),
        ("SELECT 'FROM tally', $$ FROM tally $$, :tally FROM ONLY tally", "tally"),
        ("INSERT INTO tally (name, total) SELECT n, m FROM a ON CONFLICT (name) DO UPDATE SET total = b", "tally a"),
        ("UPDATE tally SET total = 1, name = stock FROM a, b WHERE c", "tally a b"),
        ("DELETE FROM tally USING a JOIN b USING (c), d WHERE e", "tally a b d"),
        ("SELECT * FROM a FOR UPDATE OF tally", "a"),
        ("WITH x AS (SELECT 1), y (a, b) AS (SELECT 2 FROM tally) SELECT * FROM x, y, z", "tally z"),
        ("SELECT * FROM (WITH tally AS (SELECT 1 AS total) SELECT total FROM tally) a", ""),
        ("WITH tally AS (SELECT 1) DELETE FROM tally", "tally"),
        ("SELECT ')' FROM a) FROM b", "a b"),
        ("", ""),
    ],
)
def test_names_of_tables_are_found(sql: str, names: str) -> None:
    assert [each.token.name for each in table_names(sql)] == names.split()


@pytest.mark.parametrize(
    ("sql", "placed"),
    [
        ("SELECT total FROM tally", 'SELECT total FROM "tally__g3" AS "tally"'),
        ("SELECT total FROM TALLY t, stock AS s", 'SELECT total FROM "tally__g3" t, "stock__g4" AS s'),
        ("SELECT 1 FROM (SELECT 1 FROM tally) t", 'SELECT 1 FROM (SELECT 1 FROM "tally__g3" AS "tally") t'),
        (
            'SELECT 1 FROM "tally" JOIN stock ON x',
            'SELECT 1 FROM "tally__g3" AS "tally" JOIN "stock__g4" AS "stock" ON x',
        ),
        ("SELECT 1 FROM tally -- all", 'SELECT 1 FROM "tally__g3" AS "tally" -- all'),
    ],
)
def test_a_table_keeps_its_plain_name_beside_that_of_its_generation(sql: str, placed: str) -> None:
    assert PLACING.read(sql).endswith(placed)


@pytest.mark.parametrize(
    ("sql", "placed"),
    [
        ("INSERT INTO tally VALUES (1)", 'INSERT INTO "tally__g3" AS "tally" VALUES (1)'),
        ("INSERT INTO tally AS t VALUES (1)", 'INSERT INTO "tally__g3" AS t VALUES (1)'),
        ("UPDATE tally SET total = 1", 'UPDATE "tally__g3" AS "tally" SET total = 1'),
        ("UPDATE tally t SET total = 1", 'UPDATE "tally__g3" t SET total = 1'),
        ("DELETE FROM tally WHERE total = 1", 'DELETE FROM "tally__g3" AS "tally" WHERE total = 1'),
    ],
)
def test_a_target_keeps_its_plain_name_beside_that_of_its_generation(sql: str, placed: str) -> None:
    assert PLACING.change(sql).endswith(placed)


def test_what_is_no_select_is_left_to_be_refused() -> None:
    for sql in ("DROP TABLE tally", "EXPLAIN SELECT * FROM tally", ""):
        assert PLACING.read(sql) == sql
