"""Where the demonstration keeps its data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from diptych import ConfigurationError
from diptych.store.opening import shown

FOLDER: Final = Path("demo-data")
_SQLITE: Final = "sqlite:///"
_SERVER: Final = "postgresql"


def default_url() -> str:
    """Name a database in `demo-data/` of the current directory; one that is there is gone on with."""
    FOLDER.mkdir(exist_ok=True)
    return f"{_SQLITE}{FOLDER}/orders.db"


def place_of(url: str) -> str:
    """Say where a database is, as people call it."""
    if url.startswith(_SQLITE):
        return str(Path(url.removeprefix(_SQLITE).partition("?")[0]))
    if url == _SERVER:
        return "PostgreSQL, a server of its own, gone at the end"
    return "memory, gone at the end" if url.startswith("memory:") else shown(url)


@contextmanager
def server_of_its_own(url: str) -> Iterator[str]:
    """Start a PostgreSQL server where the word `postgresql` asks for one, and give its URL; else the URL itself."""
    if url != _SERVER:
        yield url
        return
    from diptych.testing.postgres import NoPostgresError, PostgresServer

    try:
        server = PostgresServer(is_durable=True)
    except NoPostgresError as error:
        raise ConfigurationError(
            f"No PostgreSQL server can be started ({error}). Name one of yours: --database postgresql://..."
        ) from error
    try:
        yield server.url()
    finally:
        server.remove()
