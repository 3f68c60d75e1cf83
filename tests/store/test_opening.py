"""From a URL to the stores, and the sentences for what is no URL of ours."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diptych.errors import ConfigurationError
from diptych.store.memory import MemoryEventStore
from diptych.store.opening import log_from_outside, open_stores, shown, views_path
from diptych.store.postgres.elsewhere import RowsElsewhere
from diptych.store.postgres.events import PostgresEventStore
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreLimits, StoreSettings
from diptych.store.sqlite.events import SqliteEventStore
from diptych.store.sqlite.views import SqliteViewStore


def test_a_relative_and_an_absolute_file_have_their_rows_beside_them() -> None:
    for url, path, rows in (
        ("sqlite:///shop.db", "shop.db", "shop.views.db"),
        ("sqlite:////var/my%20lib/shop.db", "/var/my lib/shop.db", "/var/my lib/shop.views.db"),
    ):
        stores = open_stores(url)
        assert isinstance(stores.events, SqliteEventStore)
        assert isinstance(stores.views, SqliteViewStore)
        assert (stores.events.file.path, stores.views.file.path) == (path, rows)


@pytest.mark.parametrize(("path", "rows"), [("shop", "shop.views"), ("/a.b/shop", "/a.b/shop.views")])
def test_a_file_without_a_suffix_has_rows_too(path: str, rows: str) -> None:
    assert views_path(path) == rows


def test_memory_is_a_store_like_any_other() -> None:
    assert isinstance(open_stores("memory:").events, MemoryEventStore)


def test_options_of_the_url_are_settings() -> None:
    chosen = open_stores("memory:?synchronous=NORMAL&lock_timeout=2.5&command_window_days=7&event_bytes=1000").settings
    limits = StoreLimits(event_bytes=1000)
    assert chosen == StoreSettings(synchronous="normal", lock_timeout=2.5, command_window_days=7, limits=limits)


def test_settings_are_overridden_by_the_url() -> None:
    chosen = open_stores("memory:?lock_timeout=2", StoreSettings(lock_timeout=1, poll_seconds=0.5)).settings
    assert chosen == StoreSettings(lock_timeout=2, poll_seconds=0.5)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://db/shop", "no store is known by this scheme"),
        ("postgresql://ada:secret@db/shop?schema=Shop", "schema 'Shop'"),
        ("postgresql://ada:secret@db/shop?colour=red", "there is no option 'colour'"),
        ("", "no store is known"),
        ("shop.db", "no store is known"),
        ("sqlite:///", "names no file"),
        ("sqlite:shop.db", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:shop.db", "names no file"),
        ("sqlite:///shop%00.db", "names no file"),
        ("memory:?lock_timeout=1e14", "at most a million"),
        ("memory:?colour=red", "there is no option 'colour'"),
        ("memory:?lock_timeout=soon", "lock_timeout=soon is no good"),
        ("memory:?lock_timeout=-1", "must be above 0"),
        ("memory:?lock_timeout=nan", "must be above 0"),
        ("memory:?synchronous=off", "it is full or normal"),
        ("memory:?reader=a%22b", "it is the name of a role"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as refused:
        open_stores(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("postgresql://ada:s:e%40cret@one,two:5433/shop?schema=s1", "postgresql://ada:***@one,two:5433/shop?schema=s1"),
        ("postgresql://ada@db:5432/shop", "postgresql://ada@db:5432/shop"),
        (
            "postgresql://db/shop?user=ada&password=secret&schema=s",
            "postgresql://db/shop?user=ada&password=***&schema=s",
        ),
        ("sqlite:///shop.db?synchronous=normal", "sqlite:///shop.db?synchronous=normal"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, seen: str) -> None:
    assert shown(url) == seen


def test_a_database_on_a_server_is_opened_without_a_connection() -> None:
    stores = open_stores("postgresql://ada:secret@one,two:5433/shop?schema=s1&poll_seconds=2&sslmode=require")
    assert isinstance(stores.events, PostgresEventStore)
    assert isinstance(stores.views, PostgresViewStore)
    assert str(stores.events.database) == "postgresql://one,two:5433/shop, schema s1"
    assert stores.settings == StoreSettings(poll_seconds=2)


SERVER, OTHER, REPLICA = "postgresql://one/shop", "postgresql://two/rows?schema=s2", "postgresql://three/shop"


@pytest.mark.parametrize(
    ("url", "options", "kind", "database"),
    [
        (SERVER, {}, PostgresViewStore, "postgresql://one/shop, schema diptych"),
        (SERVER, {"read_from": REPLICA}, PostgresViewStore, "postgresql://one/shop, schema diptych"),
        (SERVER, {"views": OTHER}, RowsElsewhere, "postgresql://two/rows, schema s2"),
        (SERVER, {"views": OTHER, "read_from": REPLICA}, RowsElsewhere, "postgresql://two/rows, schema s2"),
        ("sqlite:///shop.db", {"views": OTHER}, PostgresViewStore, "postgresql://two/rows, schema s2"),
        ("memory:", {"views": OTHER, "read_from": REPLICA}, PostgresViewStore, "postgresql://two/rows, schema s2"),
    ],
    ids=["beside", "beside and copied", "elsewhere", "elsewhere and copied", "of a file", "of memory, copied"],
)
def test_rows_are_kept_where_they_shall_be(url: str, options: dict[str, Any], kind: type, database: str) -> None:
    """Elsewhere they may not be ahead of a log that a fail-over may shorten; a file loses nothing that was read."""
    views: Any = open_stores(url, **options).views
    assert (type(views), str(views.database)) == (kind, database)


@pytest.mark.parametrize(
    ("url", "options", "why"),
    [
        ("memory:", {"views": "sqlite:///rows.db"}, "views is for rows in a PostgreSQL database, and sqlite"),
        (
            "sqlite:///shop.db",
            {"read_from": REPLICA},
            "read_from is for a replica of one, and sqlite:///shop.db is none",
        ),
        (SERVER, {"views": "memory:"}, "views is for rows in a PostgreSQL database, and memory: is none"),
    ],
    ids=["in a file", "copied from a file", "in memory"],
)
def test_rows_are_kept_elsewhere_on_a_server_alone(url: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        open_stores(url, **options)


@pytest.mark.parametrize(
    ("missing", "kind"), [("asyncpg", ConfigurationError), ("diptych.errors", ModuleNotFoundError)]
)
def test_a_driver_that_is_not_there_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, missing: str, kind: type[Exception]
) -> None:
    """Of another module that is missing this would be wrong."""
    monkeypatch.delitem(sys.modules, "diptych.store.postgres.connection")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(kind) as refused:
        open_stores(SERVER)
    assert ("pip install 'diptych[postgres]'" in str(refused.value)) is (kind is ConfigurationError)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_stores("memory:?colour=red&synchronous=off")
    assert len(refused.value.problems) == 2


def test_no_driver_is_imported_before_a_store_is_opened() -> None:
    code = "import sys, diptych, diptych.store.opening; sys.exit('apsw' in sys.modules or 'asyncpg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.anyio
async def test_what_is_in_memory_cannot_be_looked_at_from_outside() -> None:
    with pytest.raises(ConfigurationError, match="keeps nothing in a file here"):
        async with log_from_outside("memory:"):
            raise AssertionError("there is nothing to look at")


@pytest.mark.anyio
async def test_a_file_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with pytest.raises(ConfigurationError, match="the service has not run in"):
        async with log_from_outside(f"sqlite:///{path}"):
            raise AssertionError("there is nothing to look at")
    assert not path.exists()
