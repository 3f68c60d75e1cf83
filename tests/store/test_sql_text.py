"""Hand-written SQL as text: what is told of it before a database sees it."""

import pytest

from diptych.errors import ProgrammingError
from diptych.store.sql_text import refuse_several, refuse_unrepeatable, short, words


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("", ()),
        ("select a.b, 7 from t", ("SELECT", "A", "B", "7", "FROM", "T")),
        ("SELECT 'FROM it''s', \"a b\", `c`, [d e] -- FROM x\n, _f /* g */ /* h", ("SELECT", "_F")),
        ("SELECT :name, @other, $third;", ("SELECT", ";")),
    ],
)
def test_words_are_those_that_mean_something(sql: str, found: tuple[str, ...]) -> None:
    assert words(sql) == found


@pytest.mark.parametrize("sql", ["SELECT 1", " SELECT 1 ; ", "SELECT ';'", "SELECT 1 -- ; SELECT 2", "SELECT 1;;"])
def test_one_statement_may_end_with_a_semicolon(sql: str) -> None:
    refuse_several(sql)


@pytest.mark.parametrize("sql", ["SELECT 1; SELECT 2", "SELECT 1;\nDELETE FROM t;", "; SELECT 1"])
def test_several_statements_are_refused(sql: str) -> None:
    with pytest.raises(ProgrammingError, match="One statement at a time, not several"):
        refuse_several(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "SELECT replace(a, 'x', 'y') FROM t",
        "UPDATE t SET at = datetime(:at)",
        "SELECT strftime('%Y', at), date(at), 'now' FROM t",
        "",
    ],
)
def test_what_does_the_same_a_second_time_may_be_run(sql: str) -> None:
    refuse_unrepeatable(sql)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("INSERT INTO t VALUES (1)", "INSERT needs ON CONFLICT"),
        ("INSERT INTO t VALUES ('ON CONFLICT')", "INSERT needs ON CONFLICT"),
        ("INSERT OR IGNORE INTO t VALUES (1) ON CONFLICT DO NOTHING", "INSERT needs ON CONFLICT"),
        ("UPDATE OR REPLACE t SET a = 1", "INSERT needs ON CONFLICT"),
        ("REPLACE INTO t VALUES (1)", "INSERT needs ON CONFLICT"),
        ("WITH a AS (SELECT 1) REPLACE INTO t SELECT * FROM a", "INSERT needs ON CONFLICT"),
        ("UPDATE t SET at = datetime()", "The clock gives another answer"),
        ("UPDATE t SET at = UNIXEPOCH ( 'now' )", "The clock gives another answer"),
        ("UPDATE t SET at = strftime('%Y')", "The clock gives another answer"),
        ("SELECT timediff(at, 'NOW') FROM t", "The clock gives another answer"),
    ],
)
def test_what_does_something_else_a_second_time_is_refused(sql: str, why: str) -> None:
    """P1"""
    with pytest.raises(ProgrammingError, match=why):
        refuse_unrepeatable(sql)


def test_a_statement_is_shown_on_one_line_and_not_for_ever() -> None:
    assert short("SELECT 1\n  FROM t") == "SELECT 1 FROM t"
    assert short("x" * 120) == "x" * 120
    assert short("x" * 121) == "x" * 119 + "…"
