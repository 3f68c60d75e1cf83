"""The standard library's `sqlite3`, as far as the ways use it, over the SQLite that Diptych has.

Two SQLites in one process would take each other's locks away, for those of a process on a file end when any of its
descriptors is closed: the file's index in shared memory is then cut off under a writer, and that ends with SIGBUS.
"""

from collections.abc import Callable
from typing import Any

import apsw


class Connection(apsw.Connection):
    """A connection that commits each statement by itself."""

    def commit(self) -> None:
        """Do nothing: it is done."""

    def create_function(self, name: str, count: int, function: Callable[..., Any]) -> None:
        """Make a function of SQL."""
        self.create_scalar_function(name, function, count)


def connect(path: str) -> Connection:
    """Open a file."""
    connection = Connection(path)
    connection.set_busy_timeout(5000)
    return connection
