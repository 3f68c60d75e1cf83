"""Opening the stores under trial, and opening them again as a restart would."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from diptych.store.opening import open_stores
from diptych.store.protocols import EventStore, StoreSettings


def sqlite_store(path: Path, settings: StoreSettings | None = None) -> EventStore:
    """An event store on a file, not yet open."""
    return open_stores(f"sqlite:///{path}", settings).events


def memory_store() -> EventStore:
    """An event store in memory, not yet open."""
    return open_stores("memory:").events


@dataclass(frozen=True, slots=True)
class Opened:
    """A store and where it lives; a store in memory lives on in the object itself."""

    store: EventStore
    directory: Path | None = None

    def again(self) -> "Opened":
        """What a restarted process would open."""
        if self.directory is None:
            return self
        return Opened(sqlite_store(self.directory / "shop.db"), self.directory)

    def remove(self) -> None:
        """Leave nothing behind."""
        if self.directory is not None:
            shutil.rmtree(self.directory)
