"""The three forbidden things, each tried in the ways that people find, and what looks like one and is none."""

from pathlib import Path

import pytest

from diptych.lint.rules.table import ON
from diptych.lint.running import parse, run

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


FINE = {
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
