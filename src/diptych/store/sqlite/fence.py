"""Keeps other connections from writing rows: a trigger that can only be compiled where Diptych opened the file (DP103).

SQLite compiles a table's triggers with every statement that writes to it, and refuses a statement whose trigger calls
a function that the connection does not have. The trigger never acts: its function is not called once.
Rule: this keeps out mistakes, not somebody who makes that function or drops the trigger; `db verify --rows` finds what
they did.
"""

from typing import Final

import apsw

from diptych.store.refusals import ROWS_ARE_THEIR_PROJECTIONS
from diptych.store.rows import quoted

_VERBS: Final = ("INSERT", "UPDATE", "DELETE")


def fence(table: str) -> list[str]:
    """Return the statements that put it around a table of rows."""
    return [
        f"CREATE TRIGGER {quoted(f'{table}__{verb.lower()}')} BEFORE {verb} ON {quoted(table)} "
        f'WHEN 0 BEGIN SELECT "{ROWS_ARE_THEIR_PROJECTIONS}"(); END'
        for verb in _VERBS
    ]


def let_in(connection: apsw.Connection) -> None:
    """Let a connection write rows."""
    connection.create_scalar_function(ROWS_ARE_THEIR_PROJECTIONS, _never_called, 0, deterministic=True)


def _never_called(*_: object) -> None:
    return None
