"""What an upgrade finds, does and says. Of files here; what it does on a server is in tests/cli/test_db.py."""

from pathlib import Path

import apsw
import pytest

from diptych.errors import ConfigurationError, StoreCorruptedError, StoreNewerThanCodeError
from diptych.store.batches import RowChanges
from diptych.store.opening import open_stores, views_path
from diptych.store.sqlite.connection import DatabaseFile, open_writer
from diptych.store.sqlite.events import EVENTS_APPLICATION_ID, EVENTS_SCHEMA
from diptych.store.sqlite.migrations import migrate
from diptych.store.sqlite.shapes import VIEWS_APPLICATION_ID, VIEWS_SCHEMA
from diptych.store.upgrading import Step, pending, roles_script, script, upgrade
from diptych.testing.contracts.events_samples import event, stream, to
from diptych.testing.contracts.view_rows import SHOP, TALLIES, TALLY, batch

pytestmark = pytest.mark.anyio

NOTHING = [Step("events", 0, EVENTS_SCHEMA), Step("views", 0, VIEWS_SCHEMA)]
WHOLE = [Step("events", EVENTS_SCHEMA, EVENTS_SCHEMA), Step("views", VIEWS_SCHEMA, VIEWS_SCHEMA)]


@pytest.fixture
def url(path: str) -> str:
    return f"sqlite:///{path}"


def files_of(path: str) -> set[str]:
    return {file.name for file in Path(path).parent.iterdir()}


async def appended(url: str, count: int = 4) -> None:
    """Write some events, as a service does that has no projections."""
    events = open_stores(url).events
    await events.open()
    await events.append(to(stream(), *[event() for _ in range(count)]))
    await events.close()


async def test_looking_for_what_is_missing_makes_nothing(url: str, path: str) -> None:
    assert await pending(url) == NOTHING
    assert files_of(path) == set()


async def test_an_upgrade_makes_what_is_missing_and_then_nothing_is(url: str, path: str) -> None:
    assert await upgrade(url, [SHOP], [TALLIES]) == (NOTHING, [])
    assert await pending(url) == WHOLE
    assert await upgrade(url, [SHOP], [TALLIES]) == (WHOLE, [])
    for place, table in ((path, "tally"), (views_path(path), "stock")):
        made = apsw.Connection(place)
        assert made.execute(f'SELECT count(*) FROM "{table}"').get == 0
        made.close()
    assert files_of(path) == {"shop.db", "shop.views.db", "shop.db-writer", "shop.views.db-writer"}  # all let go of


async def test_it_says_which_projections_are_built_from_the_first_event_on(url: str) -> None:
    """Those of which no rows are there that this code may go on with."""
    await appended(url)
    assert (await upgrade(url, [SHOP], [TALLIES])).anew == ["tallies", "shop"]
    assert (await upgrade(url, [SHOP, TALLIES._replace(name="counts", tables=())])).anew == ["shop", "counts"]


async def test_rows_that_are_kept_for_this_code_are_not_built_anew(url: str) -> None:
    await appended(url)
    stores = open_stores(url)
    await stores.events.open()
    await stores.views.open([TALLIES, SHOP], store_id=stores.events.store_id)
    await stores.views.commit(batch(TALLIES, RowChanges(TALLY, []), to=1, generation=1))
    await stores.views.close()
    await stores.events.close()
    assert (await upgrade(url, [TALLIES, SHOP])).anew == ["shop"]
    assert (await upgrade(url, [TALLIES._replace(version=2)])).anew == ["tallies"]


async def test_a_lane_that_has_not_begun_is_to_be_built(url: str) -> None:
    await appended(url)
    laned = TALLIES._replace(lanes=2)
    stores = open_stores(url)
    await stores.events.open()
    await stores.views.open([laned], store_id=stores.events.store_id)
    await stores.views.commit(batch(laned, RowChanges(TALLY, []), to=1, generation=1))
    await stores.views.close()
    await stores.events.close()
    assert (await upgrade(url, [laned])).anew == ["tallies"]


async def test_what_keeps_nothing_cannot_be_upgraded() -> None:
    with pytest.raises(ConfigurationError, match="memory: keeps nothing: there is nothing to upgrade"):
        await pending("memory:")
    with pytest.raises(ConfigurationError, match="no store is known"):
        await pending("mysql://db/shop")


async def test_a_file_that_is_not_ours_is_refused_and_let_go_of(url: str, tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_text("Dear diary, " * 1000)
    for looked in (pending(url), upgrade(url)):
        with pytest.raises(StoreCorruptedError, match="not a database"):
            await looked


def test_the_sql_of_files_makes_them(path: str) -> None:
    text = script("sqlite:///shop.db", None)
    assert text.startswith("-- events_0001.sql, in the file of events\n")
    assert text.endswith(f"PRAGMA application_id = {VIEWS_APPLICATION_ID};\nPRAGMA user_version = {VIEWS_SCHEMA};\n")
    events, _, views = text.partition("\n\n-- views_0001.sql, in the file of views\n")
    for sql, application_id, version, table in (
        (events, EVENTS_APPLICATION_ID, EVENTS_SCHEMA, "commands"),
        (views, VIEWS_APPLICATION_ID, VIEWS_SCHEMA, "view_store"),
    ):
        made = apsw.Connection(":memory:")
        made.execute(sql)
        assert (made.pragma("application_id"), made.pragma("user_version")) == (application_id, version)
        assert made.execute(f"SELECT count(*) FROM {table}").get == 0
        made.close()


def test_sql_is_written_for_a_server_unless_a_url_names_a_file() -> None:
    assert 'CREATE SCHEMA IF NOT EXISTS "diptych"' in script(None, None)
    for text in (
        script(None, "shop"),
        script("postgresql:///", "shop"),
        script("postgresql://host/db?schema=shop", None),
        script("postgresql://host/db?poll_seconds=2", "shop"),
    ):
        assert 'CREATE SCHEMA IF NOT EXISTS "shop"' in text
    with pytest.raises(ConfigurationError, match=r"A file has no schemas\. Leave out --schema"):
        script("sqlite:///shop.db", "shop")
    for url in ("memory:", "sqlite:///"):
        with pytest.raises(ConfigurationError, match=r"keeps nothing, in no schema|names no file"):
            script(url, None)
    with pytest.raises(ConfigurationError, match="no option 'colour'"):
        script("postgresql://host/db?colour=red", None)


def test_roles_are_made_for_a_schema_that_may_be_one() -> None:
    assert '"dashboards"' in roles_script("shop", reader="dashboards")
    with pytest.raises(ConfigurationError, match="schema 'Shop': use lower-case letters"):
        roles_script("Shop")


async def test_a_migration_that_fails_leaves_nothing_of_itself(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """X1: each is one transaction, and those before it stand."""
    steps = [(1, "CREATE TABLE one (a)"), (2, "CREATE TABLE two (a); CREATE TABLE one (a)")]
    monkeypatch.setattr("diptych.store.sqlite.migrations.migrations", lambda of: steps)
    file = DatabaseFile(path, 7, 2)
    connection = open_writer(file, synchronous="full", lock_timeout=1.0)
    for _ in range(2):
        with pytest.raises(apsw.SQLError, match="one already exists"):
            migrate(connection, file, "events")
        assert not connection.in_transaction
        assert (connection.pragma("application_id"), connection.pragma("user_version")) == (7, 1)
        assert connection.execute("SELECT group_concat(name) FROM sqlite_schema").get == "one"
    steps[1] = (2, "CREATE TABLE two (a)")
    migrate(connection, file, "events")
    steps[:] = [(1, "no SQL"), (2, "no SQL")]
    migrate(connection, file, "events")  # there is nothing left to do
    assert connection.pragma("user_version") == 2
    connection.close()


async def test_a_file_of_newer_code_is_not_upgraded(url: str, path: str) -> None:
    await appended(url)
    newer = apsw.Connection(path)
    newer.pragma("user_version", EVENTS_SCHEMA + 1)
    newer.close()
    for looked in (pending(url), upgrade(url)):
        with pytest.raises(StoreNewerThanCodeError):
            await looked
