"""Where the demonstration keeps its data."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path("demo-data")
_SQLITE: Final = "sqlite:///"


def default_url() -> str:
    """Name a database in `demo-data/` of the current directory; one that is there is gone on with."""
    FOLDER.mkdir(exist_ok=True)
    return f"{_SQLITE}{FOLDER}/orders.db"


def place_of(url: str) -> str:
    """Say where a database is, as people call it."""
    if url.startswith(_SQLITE):
        return str(Path(url.removeprefix(_SQLITE).partition("?")[0]))
    return "memory, gone at the end" if url.startswith("memory:") else url
