"""The three forbidden things, each tried in the ways that people find, and what looks like one and is none."""

import re
from pathlib import Path

import pytest

import diptych.store
from diptych.lint.rules.table import BY_ID, ON
from diptych.lint.running import parse, run
from diptych.lint.tables import EVENT_TABLES

HEAD = """\
import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Annotated
from uuid import UUID

from diptych import (
    Aggregate, App, Command, Db, DomainEvent, Key, Metadata, Projection, Query, ReadModel, ReadModels, Repository, on
)
from sqlalchemy import text

app = App("sqlite:///shop.db")
EVENTS = "events"


class Placed(DomainEvent):
    cents: int


class Order(Aggregate):
    pass


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    cents: int


class Place(Command):
    id: UUID


class GetOrder(Query[int]):
    id: UUID


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: Placed, meta: Metadata) -> OrderSummary:
        return OrderSummary(id=meta.stream.id, cents=event.cents)


"""
QUERY = "@app.query_handler\nasync def answer(query: GetOrder, read: ReadModels{more}) -> int:\n"
COMMAND = "@app.command_handler\nasync def place(command: Place, orders: Repository[Order]{more}) -> None:\n"
RECORD = "class Record(Base):\n    __tablename__ = 'order_summary'\n\n\n"
CONNECT = "db = sqlite3.connect('shop.db')\n\n\n"


def rules(code: str, **others: str) -> list[str]:
    """The rules that are broken, each once, in a module of this code."""
    project, faults = parse({"shop.py": HEAD + code, **{f"{name}.py": text for name, text in others.items()}})
    assert faults == []
    return sorted({finding.rule for finding in run(project, ON)})


def query(body: str, more: str = "") -> str:
    return QUERY.format(more=more) + "".join(f"    {line}\n" for line in body.split("\n"))


def command(body: str, more: str = "") -> str:
    return COMMAND.format(more=more) + "".join(f"    {line}\n" for line in body.split("\n"))


READ_EVENTS = {
    "sql": query("return await read.sql(int, 'SELECT count(*) FROM events')"),
    "an f-string": query("return await read.sql(int, f'SELECT count(*) FROM events WHERE id = {query.id}')"),
    "a table's name put in": query("return await read.sql(int, f'SELECT count(*) FROM {EVENTS}')"),
    "a sum of strings": query("return await read.sql(int, 'SELECT count(*) ' + 'FROM events')"),
    "a variable": query("sql = 'SELECT count(*) FROM events'\nreturn await read.sql(int, sql)"),
    "a CTE": query("return await read.sql(int, 'WITH e AS (SELECT * FROM events) SELECT count(*) FROM e')"),
    "a join": query("return await read.sql(int, 'SELECT 1 FROM order_summary o JOIN events e ON e.stream = o.id')"),
    "the repository": query("return len(await orders.get(query.id))", ", orders: Repository[Order]"),
    "the store": query("return len(await app.events.read_log(after=0))"),
    "an own function": "def count():\n    return db.execute('SELECT count(*) FROM events')\n\n\n"
    + query("return count()"),
    "a thread": CONNECT
    + "def count():\n    return db.execute('SELECT 1 FROM events')\n\n\n"
    + query("return await asyncio.to_thread(count)"),
    "a second connection": query("return sqlite3.connect('shop.db').execute('SELECT 1 FROM events').fetchone()"),
    "SQLAlchemy": query("return session.execute(text('SELECT count(*) FROM events'))"),
    "a comment before it": query("return await read.sql(int, '-- how many\\nSELECT count(*) FROM events')"),
    "format": query("return await read.sql(int, 'SELECT count(*) FROM {}'.format(EVENTS))"),
    "percent": query("return await read.sql(int, 'SELECT count(*) FROM %s WHERE id = %s' % (EVENTS, query.id))"),
    "an unknown order": query("return con.execute(f'SELECT * FROM events ORDER BY id {order} LIMIT {n}')"),
    "one of two texts": query(
        "if query.id:\n    sql = 'SELECT 1 FROM events'\nelse:\n    sql = 'SELECT 1'\nreturn await read.sql(int, sql)"
    ),
    "a text that grows": query("sql = 'SELECT count(*) '\nsql += 'FROM events'\nreturn await read.sql(int, sql)"),
    "a constant of a class": "class Sql:\n    COUNT = f'SELECT count(*) FROM {EVENTS}'\n\n\n"
    + query("return await read.sql(int, Sql.COUNT)"),
    "a function that is given the text": "def run(sql):\n    return con.execute(sql)\n\n\n"
    "def log(sql):\n    return run(sql)\n\n\n" + query("return log(sql='SELECT count(*) FROM events')"),
    "an executor": "from functools import partial\n\n\n"
    + "def count(table):\n    return db.execute('SELECT count(*) FROM events')\n\n\n"
    + query("return await asyncio.get_running_loop().run_in_executor(None, partial(count, 1))"),
    "a class of an ORM": "from sqlalchemy import select\n\n\nclass Record(Base):\n    __tablename__ = 'events'\n\n\n"
    + query("return session.scalars(select(Record.id).where(Record.id > 1)).all()"),
}


@pytest.mark.parametrize("way", READ_EVENTS)
def test_a_query_that_reads_events_is_found(way: str) -> None:
    assert rules(READ_EVENTS[way]) == ["DP101"]


WRITE_ROWS = {
    "sql": command("sqlite3.connect('v').execute('UPDATE order_summary SET cents = 1')"),
    "an f-string": command("sqlite3.connect('v').execute(f'DELETE FROM order_summary WHERE id = {command.id}')"),
    "a CTE that writes": command(
        "session.execute(text('WITH d AS (DELETE FROM order_summary RETURNING id) SELECT * FROM d'))"
    ),
    "ON CONFLICT": command("con.execute('INSERT INTO order_summary VALUES (1, 2) ON CONFLICT DO NOTHING')"),
    "REPLACE": command("con.execute('REPLACE INTO order_summary VALUES (1, 2)')"),
    "a generation's table": command("con.execute('UPDATE order_summary__g7 SET cents = 1')"),
    "a schema": command("con.execute('UPDATE diptych.order_summary SET cents = 1')"),
    "TRUNCATE": command("con.execute('TRUNCATE TABLE order_summary')"),
    "an ORM": command("OrderSummary(id=command.id, cents=1).save()"),
    "an ORM's variable": command("row = OrderSummary(id=command.id, cents=1)\nrow.delete()"),
    "an own function": "def fix():\n    con.execute('UPDATE order_summary SET cents = 1')\n\n\n" + command("fix()"),
    "a method": "class Fixer:\n    def fix(self):\n        con.execute('UPDATE order_summary SET cents = 1')\n",
    "a thread": "def fix():\n    con.execute('UPDATE order_summary SET cents = 1')\n\n\n"
    + command("Thread(target=fix).start()"),
    "a route": "@api.post('/fix')\ndef fix():\n    con.execute('UPDATE order_summary SET cents = 1')\n",
    "OR REPLACE": command("con.execute('UPDATE OR REPLACE order_summary SET cents = 1')"),
    "MERGE": command(
        "con.execute('MERGE INTO order_summary o USING n ON o.id = n.id WHEN MATCHED THEN UPDATE SET cents = 1')"
    ),
    "COPY": command("con.execute('COPY order_summary FROM stdin')"),
    "DROP": command("con.execute('DROP TABLE order_summary')"),
    "ATTACH": command("con.execute(\"ATTACH 'v' AS v\")\ncon.execute('UPDATE v.order_summary SET cents = 1')"),
    "a module's top level": "con.execute('UPDATE order_summary SET cents = 1')\n",
    "a session": RECORD + command("row = Record(cents=1)\nsession.add(row)"),
    "a query of a session": RECORD + command("session.query(Record).filter(Record.id == 1).update({'cents': 1})"),
    "a manager of a model": "class Record(Model):\n    class Meta:\n        db_table = 'order_summary'\n\n\n"
    + command("Record.objects.filter(id=1).update(cents=1)"),
    "a table of SQLAlchemy": "from sqlalchemy import MetaData, Table, update\n\n"
    + "summary = Table('order_summary', MetaData())\n\n\n"
    + command("con.execute(update(summary).values(cents=1))"),
    "another projection": """class Sale(ReadModel):
    id: Annotated[UUID, Key]


class Sales(Projection[Sale]):
    async def handle(self, event: Placed, db: Db) -> None:
        await db.execute("UPDATE order_summary SET cents = :c", c=event.cents)
""",
}


@pytest.mark.parametrize("way", WRITE_ROWS)
def test_rows_that_somebody_else_writes_are_found(way: str) -> None:
    assert rules(WRITE_ROWS[way]) == ["DP103"]


def test_a_query_that_writes_is_found() -> None:
    assert rules(query("await read.sql(int, 'UPDATE order_summary SET cents = 1')\nreturn 1")) == ["DP102"]
    assert rules(query("await app.commands.dispatch(Place(id=query.id))\nreturn 1")) == ["DP102"]
    assert rules(query("con.execute(\"ATTACH DATABASE 'shop.db' AS log\")\nreturn 1")) == ["DP102"]


def test_what_is_in_another_module_is_followed() -> None:
    helper = "def count(db):\n    return db.execute('SELECT count(*) FROM events')\n"
    code = "from tools import count\n\n\n" + query("return count(app)")
    assert rules(code, tools=helper) == ["DP101"]


PROJECTION = """class Sale(ReadModel):
    id: Annotated[UUID, Key]
    n: int


class Sales(Projection[Sale]):
    async def handle(self, event: Placed, db: Db) -> None:
"""


def projection(body: str, before: str = "") -> str:
    return before + PROJECTION + "".join(f"        {line}\n" for line in body.split("\n"))


FINE = {
    "what is logged": query("log.info('Select from events')\nreturn 1"),
    "what is raised": query("raise HTTPException(404, 'Delete from order_summary')"),
    "what a button says": query(
        "title = 'Delete from order_summary'\nreturn {'title': title, 'help': 'Update events set'}"
    ),
    "what an own function says": "def fail(why):\n    raise ValueError(why)\n\n\n"
    + query("return fail('Delete from order_summary')"),
    "events of another schema": query("return con.execute('SELECT count(*) FROM analytics.events')"),
    "rows of another schema": command("con.execute('INSERT INTO archive.order_summary SELECT 1')"),
    "events of a database that is no store": "import duckdb\n\n\n"
    + query("return duckdb.connect('x').execute('SELECT count(*) FROM events')"),
    "an alias": query("return con.execute('SELECT events.id FROM order_summary AS events')"),
    "a column": query("return con.execute('SELECT extract(epoch FROM commands) FROM order_summary')"),
    "a function's rows": query("return con.execute('SELECT x FROM order_summary, unnest(tags) AS events(x)')"),
    "a CTE of itself": query(
        "return con.execute('WITH RECURSIVE events(n) AS (SELECT 1 UNION SELECT n FROM events) SELECT n FROM events')"
    ),
    "names that lead nowhere": "A = B\nB = A\n\n\n" + query("sql = sql + A\nreturn await read.sql(int, sql)"),
    "a projection's helper without types": projection(
        "await add(db, 1)", "async def add(db, n):\n    await db.execute('UPDATE sale SET n = n + :n', n=n)\n\n\n"
    ),
    "a projection's helper object": "class Writer:\n    def __init__(self, db: Db) -> None:\n        self.db = db\n\n"
    "    async def put(self) -> None:\n        await self.db.execute('UPDATE order_summary SET cents = 1')\n",
    "a helper that takes `db` by name": "async def write(*, db: Db | None) -> None:\n"
    "    await db.execute('UPDATE order_summary SET cents = 1')\n",
    "a projection in a function": "def release():\n"
    + "".join(f"    {line}\n" for line in projection("await db.execute('UPDATE sale SET n = 1')").splitlines())
    + "    return Sales\n",
    "a dict's get": RECORD + command("return registry.get(Record)"),
    "an ORM's other table": RECORD.replace("order_summary", "customers") + command("session.add(Record(cents=1))"),
    "an ORM's table of another schema": RECORD.replace("'\n\n", "'\n    __table_args__ = {'schema': 'archive'}\n\n")
    + command("session.add(Record(cents=1))"),
    "a read model": query("return (await read.one(OrderSummary, query.id)).cents"),
    "sql over rows": query("return await read.sql(int, 'SELECT cents FROM order_summary')"),
    "a CTE called events": query(
        "return await read.sql(int, 'WITH events AS (SELECT * FROM order_summary) SELECT count(*) FROM events')"
    ),
    "a text for people": query("raise ValueError('select events from the list')"),
    "a docstring": query('"""SELECT 1 FROM events"""\nreturn 1'),
    "a command that loads": command("await orders.get(command.id)"),
    "a script that is not ours": "con.execute('UPDATE customers SET name = 1')\n",
    "a helper of the projection": """async def write(db: Db, cents: int) -> None:
    await db.execute("UPDATE order_summary SET cents = :c", c=cents)
""",
    "a method of the model": "class Mine(OrderSummary):\n    def save(self):\n        pass\n\n\n"
    + command("Mine().save()"),
}


@pytest.mark.parametrize("way", FINE)
def test_what_only_looks_like_it_is_not_found(way: str) -> None:
    assert rules(FINE[way]) == []


def test_a_read_model_of_that_name_is_no_event_table() -> None:
    model = "class Streams(ReadModel):\n    id: Annotated[UUID, Key]\n\n\n"
    assert rules(model + query("return await read.sql(int, 'SELECT count(*) FROM streams')")) == []


def test_what_stays_unseen_is_left_to_the_guards() -> None:
    """A stored procedure, a name made at run time: nobody can tell from the source."""
    assert rules(query("return await read.sql(int, 'SELECT count_all_of_it()')")) == []
    assert rules(query("return await read.sql(int, ' '.join(['SELECT 1 FROM', query.table]))")) == []


def test_the_page_lists_every_way() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "checking.md").read_text()
    assert f"by way of: {', '.join(READ_EVENTS)}." in page
    assert f"by way of: {', '.join(WRITE_ROWS)}." in page


def test_two_services_may_have_a_table_of_one_name() -> None:
    other = HEAD + projection("await db.execute('UPDATE sale SET n = 2')")
    assert rules(projection("await db.execute('UPDATE sale SET n = 1')"), other=other) == []


def test_what_is_in_an_inner_function_is_told_of_once() -> None:
    code = "def make():\n    def fix():\n        con.execute('UPDATE order_summary SET cents = 1')\n    return fix\n"
    project, _ = parse({"shop.py": HEAD + code})
    assert [(one.rule, one.name) for one in run(project, ON)] == [("DP103", "make.<locals>.fix")]
    inner = query("def count():\n    return db.execute('SELECT 1 FROM events')\nreturn await asyncio.to_thread(count)")
    project, _ = parse({"shop.py": HEAD + inner})
    assert [one.rule for one in run(project, ON)] == ["DP101"]


def test_a_command_that_asks_is_found() -> None:
    assert rules(command("await app.queries.answer(GetOrder(id=command.id))")) == ["DP105"]
    assert rules(command("con.execute('SELECT cents FROM order_summary FOR UPDATE')")) == ["DP104"]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_the_tables_of_events_are_those_of_the_schemas(store: str) -> None:
    """They are written down, as checking needs no store; this holds them together."""
    files = (Path(diptych.store.__file__).parent / store / "schema").glob("events_*.sql")
    made = [name for file in files for name in re.findall(r"CREATE TABLE (?:\w+\.)?(\w+)", file.read_text())]
    assert set(made) <= EVENT_TABLES
    assert {"events", "streams", "commands"} <= set(made)


def test_there_is_no_table_of_events_that_no_schema_has() -> None:
    text = "".join(file.read_text() for file in Path(diptych.store.__file__).parent.glob("*/schema/events_*.sql"))
    assert set(re.findall(r"CREATE TABLE (?:\w+\.)?(\w+)", text)) == EVENT_TABLES


def test_sql_that_nobody_can_read_is_told_of_if_one_asks() -> None:
    """DP905 is off by default: run time refuses what it is about."""
    for said in ("f'SELECT count(*) FROM {query.table}'", "' '.join(['SELECT', query.table])", "'SELECT FROM WHERE'"):
        project, _ = parse({"shop.py": HEAD + query(f"return await read.sql(int, {said})")})
        assert [one.rule for one in run(project, [BY_ID["DP905"]])] == ["DP905"]
    known = query("return await read.sql(int, f'SELECT cents FROM order_summary WHERE id = {query.id}')")
    project, _ = parse({"shop.py": HEAD + known})
    assert run(project, [BY_ID["DP905"]]) == []
