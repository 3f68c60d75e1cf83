"""What a reading connection may do: SELECT from registered tables, and nothing else (R4).

Rule: SQLite asks here while it prepares a statement; it refuses the statement itself.
"""

from collections.abc import Mapping
from typing import Final

import apsw

from diptych.store.refusals import not_readable, not_select
from diptych.store.sqlite.script import JSON_TABLES, existing_tables
from diptych.store.tables import plain_name

_PASSIVE: Final = frozenset({apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE, apsw.SQLITE_TRANSACTION})
_OUTSIDE: Final = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})
_OWN: Final = frozenset({"projection_checkpoints", "parked_events", "projections", "view_store"})


class ReadGuard:
    """The authorizer of one connection. `used` collects the tables of the statement being prepared."""

    def __init__(self, connection: apsw.Connection, tables: Mapping[str, str]) -> None:
        """`tables`: the registered ones, and in which of the attached files each is: others there may have its name."""
        self._tables, self._existing = tables, existing_tables(connection)
        self._allowed = JSON_TABLES | _OWN
        self.used: set[str] = set()
        self.denied: str | None = None

    def __call__(self, action: int, first: str | None, second: str | None, schema: str | None, by: str | None) -> int:
        """Answer SQLite's question whether a statement may do this."""
        if action == apsw.SQLITE_READ:
            table = plain_name(str(first))
            if table in self._tables and schema in (None, self._tables[table]):
                if table != first:  # not only its plain name, which stands for that
                    self.used.add(table)
                return apsw.SQLITE_OK
            if first in self._allowed or (second == "" and first not in self._existing):
                return apsw.SQLITE_OK
            self.denied = not_readable(first, self._tables)
        elif action in _PASSIVE or (action == apsw.SQLITE_FUNCTION and second not in _OUTSIDE):
            return apsw.SQLITE_OK
        else:
            self.denied = not_select(self._what(action, first or second))
        return apsw.SQLITE_DENY

    @staticmethod
    def _what(action: int, first: str | None) -> str:
        name = str(apsw.mapping_authorizer_function.get(action, action)).removeprefix("SQLITE_").lower()
        return f"{name} {first}" if first else name
