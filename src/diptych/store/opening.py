"""From a URL to the two stores.

Rule: the only place that chooses a backend; it imports the chosen one and no other. No message has a password.
"""

import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from diptych.errors import ConfigurationError
from diptych.store.batches import ProjectionTables
from diptych.store.generations import Generation
from diptych.store.health import Check, unknown
from diptych.store.outside import AuditSource, OutsideLog
from diptych.store.protocols import EventStore, StoreLimits, StoreSettings, ViewStore
from diptych.store.seen import Kept, Look, Watched

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")
_PASSWORD: Final = re.compile(r"((?<=://)[^:/@?]*:(?=[^/?]*@)|[?&](?:ssl)?password=)[^/@?&]+")
_EXAMPLES: Final = (
    "Use sqlite:///shop.db, sqlite:////var/lib/shop.db, postgresql://user:password@host/database or memory:"
)


class Stores(NamedTuple):
    """The two sides of one application, not yet open. Open `events` first: `views` wants its `store_id`."""

    events: EventStore
    views: ViewStore
    settings: StoreSettings


def open_stores(
    url: str, settings: StoreSettings | None = None, *, views: str | None = None, read_from: str | None = None
) -> Stores:
    """Return the stores that a URL names; its options go over `settings`. :raises ConfigurationError:

    `views` names another PostgreSQL database for the rows of asynchronous projections, `read_from` a replica of the
    database with the rows, which queries read instead.
    """
    stores = _stores(url, settings or StoreSettings())
    rows_at = url if views is None else views
    if not rows_at.startswith(_POSTGRES) and (views or read_from):
        what = "views is for rows in a PostgreSQL database" if views else "read_from is for a replica of one"
        raise ConfigurationError(f"{what}, and {shown(rows_at)} is none.")
    if views is None and read_from is None:
        return stores
    return stores._replace(views=_rows_at(rows_at, stores, read_from, is_apart=views is not None))


def _stores(url: str, settings: StoreSettings) -> Stores:
    if url.startswith(_POSTGRES):
        return _postgres(url, settings)
    path = path_of(url)
    chosen = _with_options(settings, url, url.partition("?")[2])
    return _memory(chosen) if path is None else _sqlite(path, chosen)


def path_of(url: str) -> str | None:
    """Return the file of events that a URL names, None if its store is none. :raises ConfigurationError: no store."""
    place = url.partition("?")[0]
    if place == "memory:" or url.startswith(_POSTGRES):
        return None
    if place.startswith(_SQLITE) and len(place) > len(_SQLITE):
        path = unquote(place.removeprefix(_SQLITE))
        if "\0" not in path and not path.startswith((":memory:", "file:")):
            return path
    if place.startswith("sqlite:"):
        raise ConfigurationError(f"{shown(url)!r} names no file. {_EXAMPLES}.")
    raise ConfigurationError(f"{shown(url)!r}: no store is known by this scheme. {_EXAMPLES}.")


def look_at(url: str, projections: Collection[Watched], *, views: str | None = None) -> Look:
    """Look at the stores of a running or stopped service: nothing is started, created or changed.

    :raises ConfigurationError: it keeps nothing that can be looked at. :raises StoreError: it cannot be read.
    """
    if url.startswith(_POSTGRES):
        database_of = _postgres_urls()
        from diptych.store.postgres.peek import peek as peek_at_server

        kept = _rows_on_server(url if views is None else views, projections)
        return peek_at_server(database_of(url)[0], kept, projections)
    path = _file_there(url)
    from diptych.store.sqlite.peek import peek, peek_at_rows

    kept = peek_at_rows(views_path(path), projections) if views is None else _rows_on_server(views, projections)
    return peek(path, kept, projections)


def _rows_on_server(url: str, projections: Collection[Watched]) -> Kept | None:
    database_of = _postgres_urls()
    from diptych.store.postgres.peek import peek_at_rows

    return peek_at_rows(database_of(url)[0], projections)


@asynccontextmanager
async def log_from_outside(url: str) -> AsyncIterator[OutsideLog]:
    """Open the log of a running or stopped service to look things up in.

    :raises ConfigurationError: there is none. :raises StoreError: it cannot be read.
    """
    if url.startswith(_POSTGRES):
        database_of = _postgres_urls()
        from diptych.store.postgres.outside import outside as outside_server

        async with outside_server(database_of(url)[0]) as schema:
            yield schema
        return
    path = _file_there(url)
    from diptych.store.sqlite.outside import outside

    with outside(path) as file:
        yield file


@asynccontextmanager
async def audit_source(url: str) -> AsyncIterator[AuditSource]:
    """Open the log of a running or stopped service for an audit.

    :raises ConfigurationError: there is none. :raises StoreError: it cannot be read.
    """
    if url.startswith(_POSTGRES):
        database_of = _postgres_urls()
        from diptych.store.postgres.auditing import audited as audited_server

        async with audited_server(database_of(url)[0]) as schema:
            yield schema
        return
    path = _file_there(url)
    from diptych.store.sqlite.auditing import audited

    with audited(path) as file:
        yield file


async def as_made(url: str, projections: Sequence[ProjectionTables]) -> set[str]:
    """Return the names of those projections whose tables are as this code makes them: opening changes none of these."""
    if url.startswith(_POSTGRES):
        database_of = _postgres_urls()
        from diptych.store.postgres.auditing import as_made as on_server

        return await on_server(database_of(url)[0], projections)
    path = _file_there(url)
    from diptych.store.sqlite.auditing import as_made as in_files

    return in_files(path, views_path(path), projections)


async def generations_beside(url: str) -> Sequence[Generation]:
    """Return the generations whose rows are beside the log: of inline projections, of sagas and reactions.

    :raises ConfigurationError: there is no store to look at. :raises StoreError: it cannot be read.
    """
    if url.startswith(_POSTGRES):
        database_of = _postgres_urls()
        from diptych.store.postgres.auditing import generations_in as in_schema

        return await in_schema(database_of(url)[0])
    path = _file_there(url)
    from diptych.store.sqlite.auditing import generations_in
    from diptych.store.sqlite.outside import events_file

    return generations_in(events_file(path))


async def store_health(url: str) -> AsyncIterator[Check]:
    """Look at what a store stands on. :raises ConfigurationError: the URL is no good."""
    if url.startswith(_POSTGRES):
        database, options = _postgres_urls()(url)
        from diptych.store.postgres.health import checks as of_server

        async for check in of_server(database, _with_options(StoreSettings(), f"{database}", options)):
            yield check
        return
    path = path_of(url)
    if path is None:
        yield unknown("store", f"{url} keeps nothing that could be looked at")
        return
    from diptych.store.sqlite.health import checks as of_files

    for check in of_files(path, views_path(path), _with_options(StoreSettings(), url, url.partition("?")[2])):
        yield check


def _file_there(url: str) -> str:
    """Return the file of events. :raises ConfigurationError: there is none to look at."""
    path = path_of(url)
    if path is None:
        raise ConfigurationError(f"{url} keeps nothing in a file here. Ask the running service: /health/ready")
    if not Path(path).exists():
        raise ConfigurationError(f"{path} is not there: the service has not run in {Path.cwd()}. Go to its folder.")
    return path


def shown(url: str) -> str:
    """Return a URL as people and logs may see it: without its password."""
    return _PASSWORD.sub(r"\1***", url)


def views_path(path: str) -> str:
    """Where the rows of a file of events live: `shop.views.db` beside `shop.db`."""
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}.views.{suffix}" if dot and "/" not in suffix else f"{path}.views"


def _memory(settings: StoreSettings) -> Stores:
    from diptych.store.memory import MemoryEventStore
    from diptych.store.sqlite.views import temporary_view_store

    inline = temporary_view_store(settings)
    return Stores(MemoryEventStore(settings, inline=inline), temporary_view_store(settings, inline), settings)


def _sqlite(path: str, settings: StoreSettings) -> Stores:
    from diptych.store.sqlite.events import SqliteEventStore
    from diptych.store.sqlite.views import SqliteViewStore, views_file

    events = SqliteEventStore(path, settings)
    return Stores(events, SqliteViewStore(views_file(views_path(path)), settings, inline=events.inline), settings)


def _postgres(url: str, settings: StoreSettings) -> Stores:
    database, options = _postgres_urls()(url)
    from diptych.store.postgres.events import PostgresEventStore
    from diptych.store.postgres.views import PostgresViewStore

    chosen = _with_options(settings, f"{database}", options)
    events = PostgresEventStore(database, chosen)
    views = PostgresViewStore(database, chosen, inline=events.inline, is_beside_log=True)
    return Stores(events, views, chosen)


def _rows_at(url: str, stores: Stores, read_from: str | None, *, is_apart: bool) -> ViewStore:
    database_of = _postgres_urls()
    from diptych.store.postgres.elsewhere import RowsElsewhere
    from diptych.store.postgres.events import PostgresEventStore
    from diptych.store.postgres.views import PostgresViewStore

    database, options = database_of(url)
    settings = _with_options(stores.settings, f"{database}", options)
    copy = None if read_from is None else replace(database_of(read_from)[0], schema=database.schema)
    log = stores.events
    if not isinstance(log, PostgresEventStore):  # a file loses nothing that was read of it
        return PostgresViewStore(database, settings, read_from=copy)
    if is_apart:
        return RowsElsewhere(database, settings, log.keeps, read_from=copy)
    return PostgresViewStore(database, settings, inline=log.inline, is_beside_log=True, read_from=copy)


def _postgres_urls() -> Callable[[str], tuple[Any, str]]:
    try:
        from diptych.store.postgres.connection import database_of
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigurationError("A PostgreSQL store needs asyncpg. Run: pip install 'diptych[postgres]'.") from error
    return database_of


def _with_options(settings: StoreSettings, url: str, query: str) -> StoreSettings:
    changes: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    problems: list[str] = []
    for name, text in parse_qsl(query, keep_blank_values=True):
        parse = _OPTIONS.get(name)
        if parse is None:
            problems.append(f"{url!r}: there is no option {name!r}. There are {', '.join(sorted(_OPTIONS))}.")
            continue
        try:
            (limits if name in _LIMITS else changes)[name] = parse(text)
        except ValueError as error:
            problems.append(f"{url!r}: {name}={text} is no good: {error}.")
    if problems:
        raise ConfigurationError(problems)
    return settings._replace(**changes, limits=settings.limits._replace(**limits))


def _synchronous(text: str) -> str:
    if text.lower() not in ("full", "normal"):
        raise ValueError("it is full or normal")
    return text.lower()


def _role(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", text) or text == "none":
        raise ValueError("it is the name of a role")
    return text


def _number(kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not 0 < value < (1e6 if kind is float else 1e15):
            raise ValueError("it must be above 0, and seconds at most a million")
        return value

    return parse


_LIMITS: Final = frozenset(StoreLimits._fields)
_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "synchronous": _synchronous,
    "reader": _role,
    **{
        name: _number(kind)
        for settings in (StoreSettings, StoreLimits)
        for name, kind in settings.__annotations__.items()
        if kind in (int, float)
    },
}
