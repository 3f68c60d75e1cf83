"""The three forbidden things, each tried in ten ways and more, on both stores: what run time makes of it (R4).

What is said here is what `docs/rules-at-run-time.md` tells.
"""

from pathlib import Path
from types import ModuleType

import pytest

from diptych import App, id_for
from diptych.errors import StaleReadError
from diptych.store.opening import views_path
from diptych.store.postgres.connection import database_of
from tests.forbidden.cases import WAYS, tables
from tests.forbidden.shop import Correct, CountAll, Store, shop
from tests.forbidden.way import Thing, Way
from tests.postgres import Server
from tests.urls import url_for

pytestmark = pytest.mark.anyio

SHELF = id_for("shelf", "one")
PAGE = Path(__file__).parent.parent.parent / "docs" / "rules-at-run-time.md"
PROCEDURES = """
CREATE FUNCTION {}.log_size() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM {}.events';
CREATE FUNCTION {}.zero_stock() RETURNS int LANGUAGE sql AS 'UPDATE {}.{} SET quantity = 0; SELECT 1';
"""
TRIED = [
    pytest.param(store, way, id=f"{store}-{way.id}", marks=[pytest.mark.postgres] if store == "postgres" else [])
    for way in WAYS
    for store in way.stores
]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the shop is; `store` comes first."""
    return url_for(request, tmp_path)


@pytest.fixture
async def filled(url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A shop with five things on a shelf, told to the ways by the environment."""
    async with _app(url) as app:
        await app.commands.dispatch(Store(shelf_id=SHELF, quantity=5))
        await app.caught_up()
        (live,) = [one for one in await app.views.generations.all("stock") if one.state == "live"]
    table = f"stock_row__g{live.number}"
    log = url.removeprefix("sqlite:///")
    if log == url:
        database, _ = database_of(url)
        log, schema = database.dsn, database.schema
        server: Server = request.getfixturevalue("postgres")
        server.query(PROCEDURES.format(schema, schema, schema, schema, table))
        monkeypatch.setenv("SHOP_SCHEMA", schema)
    monkeypatch.setenv("SHOP_LOG", log)
    monkeypatch.setenv("SHOP_ROWS", views_path(log))
    monkeypatch.setenv("SHOP_TABLE", table)
    return url


def _app(url: str, way: Way | None = None) -> App:
    app = App(url, mode="production")  # in development a blocking call of a handler is refused before
    app.include(shop)
    if way is not None:
        module = ModuleType("way")
        code = way.module.replace("import sqlite3\n", "from tests.forbidden import one_library as sqlite3\n")
        exec(compile(code, f"<{way.name}>", "exec"), module.__dict__)
        app.include(module.way)
    return app


async def _try(url: str, way: Way) -> str:
    """Do it, and return what was said against it."""
    try:
        async with _app(url, way) as app:
            if "query: CountAll" in way.source:
                await app.queries.dispatch(CountAll(shelf_id=SHELF))
            elif "command: Correct" in way.source:
                await app.commands.dispatch(Correct(shelf_id=SHELF))
            else:  # the new projection reads what happened so far
                try:
                    await app.caught_up()
                except StaleReadError:
                    status = await app.status()
                    return " ".join(str(one.error) for one in status.projections)
    except Exception as error:
        return str(error)
    return ""


async def _quantity(url: str) -> int:
    async with _app(url) as app:
        await app.caught_up()
        async with app.views.reader() as session:
            rows = await session.fetch("SELECT quantity FROM stock_row", {})
        return int(rows[0][0])


@pytest.mark.parametrize(("url", "way"), TRIED, indirect=["url"])
async def test_what_is_forbidden_is_refused_or_told(filled: str, way: Way) -> None:
    """R4, P1: the error names the rule; what nothing refuses is in the table of the docs as that."""
    said = await _try(filled, way)
    if way.said is None:
        assert not said
    else:
        assert way.said in said
        assert (way.rule or "") in said
        assert await _quantity(filled) == 5


def test_each_thing_is_tried_in_ten_ways_on_each_store() -> None:
    for thing in Thing:
        for store in ("sqlite", "postgres"):
            assert len([way for way in WAYS if way.thing is thing and store in way.stores]) >= 10


def test_the_page_shows_the_table() -> None:
    assert tables() in PAGE.read_text()
