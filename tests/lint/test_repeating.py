"""DP201 and DP202: what a projection writes may be delivered twice."""

import pytest

from diptych.lint.fixing import fixed
from diptych.lint.rules.table import ON
from diptych.lint.running import parse, run
from tests.lint.test_separation import HEAD, projection, rules

BESIDE = "totals = sqlite3.connect('totals.db')\n\n\n"

TWICE = {
    "a variable": projection("sql = 'INSERT INTO sale (id, n) VALUES (:i, 1)'\nawait db.execute(sql, i=1)"),
    "a function that it calls": projection(
        "await put(db)", "async def put(db):\n    await db.execute('INSERT INTO sale (id, n) VALUES (1, 1)')\n\n\n"
    ),
    "INSERT ... SELECT": projection("await db.execute('INSERT INTO sale (id, n) SELECT id, 1 FROM sale')"),
    "OR IGNORE, which `db` refuses": projection("await db.execute('INSERT OR IGNORE INTO sale (id) VALUES (1)')"),
    "REPLACE, which `db` refuses": projection("await db.execute('REPLACE INTO sale (id) VALUES (1)')"),
    "a connection of its own": projection("totals.execute('INSERT INTO total (n) VALUES (1)')", BESIDE),
}
COUNTED_TWICE = {
    "UPDATE": projection("totals.execute('UPDATE total SET n = n + 1')", BESIDE),
    "what may be missing": projection("totals.execute('UPDATE total SET n = coalesce(n, 0) + 1')", BESIDE),
    "ON CONFLICT": projection(
        "totals.execute('INSERT INTO total (id, n) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = total.n + 1')",
        BESIDE,
    ),
    "a function that it calls": projection(
        "add()", BESIDE + "def add():\n    totals.execute('UPDATE total SET n = n - 1')\n\n\n"
    ),
    "SQLAlchemy": projection("engine.execute(text('UPDATE total SET n = n + 1'))", "from sqlalchemy import text\n\n\n"),
}
FINE = {
    "ON CONFLICT": projection(
        "await db.execute('INSERT INTO sale (id, n) VALUES (:i, 1) ON CONFLICT (id) DO NOTHING', i=1)"
    ),
    "a sum in the checkpoint's transaction": projection(
        "await db.execute('INSERT INTO sale (id, n) VALUES (:i, 1) "
        "ON CONFLICT (id) DO UPDATE SET n = sale.n + excluded.n', i=1)"
    ),
    "the same by another name": projection("mine = db\nawait mine.execute('UPDATE sale SET n = n + 1')"),
    "the same in a method": projection(
        "await self.add(db)\n\nasync def add(self, db: Db) -> None:\n    await db.execute('UPDATE sale SET n = n + 1')"
    ),
    "a connection that nobody knows": projection("pool.execute('UPDATE total SET n = n + 1')"),
    "a position": projection("totals.execute('UPDATE total SET n = n + 1 WHERE last_pos < ?', (1,))", BESIDE),
    "what does not depend on itself": projection("totals.execute('UPDATE total SET n = m + 1')", BESIDE),
    "the same again": projection("totals.execute('UPDATE total SET n = n')", BESIDE),
    "OR IGNORE of another connection": projection("totals.execute('INSERT OR IGNORE INTO total VALUES (1)')", BESIDE),
}


@pytest.mark.parametrize("way", TWICE)
def test_an_insert_that_cannot_be_repeated_is_found(way: str) -> None:
    assert rules(TWICE[way]) == ["DP201"]


@pytest.mark.parametrize("way", COUNTED_TWICE)
def test_a_sum_beside_the_checkpoint_is_found(way: str) -> None:
    assert rules(COUNTED_TWICE[way]) == ["DP202"]


@pytest.mark.parametrize("way", FINE)
def test_what_may_be_repeated_is_not_found(way: str) -> None:
    assert rules(FINE[way]) == []


CLAUSE = " ON CONFLICT (id) DO UPDATE SET n = excluded.n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("'INSERT INTO sale (id, n) VALUES (:i, :n)'", f"'INSERT INTO sale (id, n) VALUES (:i, :n){CLAUSE}'"),
        (
            "'INSERT INTO sale (id) VALUES (:i)'",
            "'INSERT INTO sale (id) VALUES (:i) ON CONFLICT (id) DO NOTHING'",
        ),
        (
            '"INSERT INTO sale (id, n) " "VALUES (:i, :n)"',
            f'"INSERT INTO sale (id, n) " "VALUES (:i, :n){CLAUSE}"',
        ),
        (
            '"""INSERT INTO sale (id, n)\n        VALUES (:i, :n)"""',
            f'"""INSERT INTO sale (id, n)\n        VALUES (:i, :n){CLAUSE}"""',
        ),
    ],
)
def test_the_clause_is_added_if_asked_for(before: str, after: str) -> None:
    for body in ("await db.execute({}, i=1)", "sql = {}\n        await db.execute(sql, i=1)"):
        text = HEAD + projection("{}").format(body.format(before)).replace("\\n", "\n")
        project, _ = parse({"shop.py": text})
        found = run(project, ON)
        assert [one.rule for one in found] == ["DP201"]
        assert fixed(text, found) == (text, [])
        done, carried_out = fixed(text, found, is_unsafe=True)
        assert carried_out == found
        assert done == text.replace(before, after)
        project, _ = parse({"shop.py": done})
        assert run(project, ON) == []


@pytest.mark.parametrize(
    "said",
    [
        "'INSERT INTO sale VALUES (:i, :n)'",  # which columns?
        "'INSERT INTO sale (n) VALUES (:n)'",  # no key
        "'INSERT INTO sale (id, n) SELECT id, 1 FROM sale'",  # ON would be read as that of a join
        "'INSERT INTO sale (id, n) VALUES (:i, :n) RETURNING (id)'",  # it stands before RETURNING
        "'INSERT INTO total (id, n) VALUES (:i, :n)'",  # whose key nobody knows
        "f'INSERT INTO sale (id, n) VALUES ({event.cents}, 1)'",
    ],
)
def test_where_the_clause_is_not_known_there_is_no_fix(said: str) -> None:
    project, _ = parse({"shop.py": HEAD + projection(f"await db.execute({said})")})
    assert [(one.rule, one.fix) for one in run(project, ON)] == [("DP201", None)]
