"""Opening the stores under trial, and opening them again as a restart would."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from diptych.store.opening import open_stores
from diptych.store.protocols import EventStore, StoreSettings
from tests.postgres import Server
from tests.postgres_servers.hindrances import injected_failures, slow_commits

_schemas: Final = count(1)


def sqlite_url(path: Path) -> str:
    """The URL of an event store in a file."""
    return f"sqlite:///{path}"


def url_in(directory: Path) -> str:
    """The URL that was written into this directory, else that of a file in it."""
    written = directory / "url"
    return written.read_text() if written.exists() else sqlite_url(directory / "shop.db")


def store_at(url: str, settings: StoreSettings | None = None) -> EventStore:
    """The event store that a URL names, not yet open."""
    return open_stores(url, settings).events


def sqlite_store(path: Path, settings: StoreSettings | None = None) -> EventStore:
    """An event store on a file, not yet open."""
    return store_at(sqlite_url(path), settings)


@contextmanager
def sqlite_database() -> Iterator[str]:
    """The URL of a store in files of their own, gone at the end."""
    with tempfile.TemporaryDirectory() as name:
        yield sqlite_url(Path(name) / "shop.db")


@contextmanager
def postgresql_database() -> Iterator[str]:
    """The URL of a store on a server of its own, gone at the end."""
    server = Server(is_durable=True)
    try:
        asyncio.run(hindered(server, server.url()))
        yield server.url()
    finally:
        server.remove()


@contextmanager
def plain_database() -> Iterator[str]:
    """The same, with nothing that fails or is slow on purpose."""
    server = Server()
    try:
        yield server.url()
    finally:
        server.remove()


async def hindered(server: Server, url: str, schema: str = "diptych") -> None:
    """Create the store, and have some of its appends fail and some commit slowly."""
    store = store_at(url)
    await store.open()
    await store.close()
    slow_commits(server, schema)
    injected_failures(server, schema)


DATABASES: Final[Mapping[str, Callable[[], AbstractContextManager[str]]]] = {
    "sqlite": sqlite_database,
    "postgresql": postgresql_database,
}


@contextmanager
def fresh_stores(database: str) -> Iterator[Callable[[], AbstractContextManager[str]]]:
    """Something that makes an empty store whenever it is asked to: files, or schemas of one server."""
    if database == "sqlite":
        yield sqlite_database
        return
    server = Server()

    @contextmanager
    def schema() -> Iterator[str]:
        name = f"fresh_{next(_schemas)}"
        yield server.url(schema=name)
        server.query(f"DROP SCHEMA {name} CASCADE")

    try:
        yield schema
    finally:
        server.remove()


def memory_store() -> EventStore:
    """An event store in memory, not yet open."""
    return open_stores("memory:").events


@dataclass(frozen=True, slots=True)
class Opened:
    """A store under trial: `make` opens it again as a restarted process would; one in memory lives on in the object."""

    store: EventStore
    make: Callable[[], EventStore] | None = None
    clear: Callable[[], object] = lambda: None

    def again(self) -> "Opened":
        """What a restarted process would open."""
        return self if self.make is None else replace(self, store=self.make())

    def remove(self) -> None:
        """Leave nothing behind."""
        self.clear()


def opened_file() -> Opened:
    """A store in a file of its own."""
    folder = Path(tempfile.mkdtemp(prefix="diptych-model-"))
    make = partial(sqlite_store, folder / "shop.db")
    return Opened(make(), make, partial(shutil.rmtree, folder))


def opened_schema(server: Server) -> Opened:
    """A store in a schema of its own."""
    schema = f"model_{next(_schemas)}"
    make = partial(store_at, server.url(schema=schema))
    return Opened(make(), make, partial(server.query, f"DROP SCHEMA {schema} CASCADE"))
