"""What a store says when it refuses what a rule of `diptych check` forbids: one spelling for every backend.

Rule: each sentence says what was refused and what to do instead, and ends with the rule's id.
"""

from collections.abc import Iterable
from typing import Final

LOG: Final = frozenset({"events", "streams", "event_types", "commands"})
UNDECIDABLE: Final = "rows must follow from events alone (rule DP206)."
ONLY_ROWS: Final = (
    "its SQL may only SELECT, INSERT, UPDATE and DELETE; tables come from read models, and are written as rows "
    "(rule DP103)."
)
AWAITS_ELSE: Final = (
    "handle may await nothing but its db: it runs inside the transaction, and again at a rebuild. "
    "Do the rest in a command handler (rule DP203)."
)
ROWS_ARE_THEIR_PROJECTIONS: Final = (
    "DP103: a read model is written by its projection alone; record an event, or type: diptych projection rebuild"
)
"""What a connection that is not Diptych's is told when it writes rows. In SQLite it is the name of a function."""


def not_select(what: str) -> str:
    """A query does something else than reading."""
    return f"The read side may only SELECT, not {what}. Changes are made by commands (rule DP102)."


def not_select_because(why: object) -> str:
    """The database itself refused a query's write."""
    return f"The read side may only SELECT ({why}). Changes are made by commands (rule DP102)."


def not_readable(name: str | None, registered: Iterable[str]) -> str:
    """A query reads what is no read model."""
    known = ", ".join(sorted(registered)) or "none"
    return (
        f"The read side may not read {name}, only registered read models ({known}). Have a projection keep what the "
        "query needs (rule DP101)."
    )


def not_by_schema(name: str) -> str:
    """A query reads the view of a read model, which is there for people."""
    return f"The read side may not read {name} by its schema. Leave the schema out (rule DP101)."


def not_own(verb: str, name: str | None, own: Iterable[str]) -> str:
    """A projection's SQL reaches a table of somebody else."""
    tables = ", ".join(sorted(own))
    if verb == "read":
        instead = "Keep what it needs in one of these, or make the two one projection (rule DP109)."
    elif name in LOG:
        instead = "Events are recorded by aggregates; a rebuild would append this again (rule DP205)."
    else:
        instead = "A read model is written by its own projection alone (rule DP103)."
    return f"it may not {verb} {name}, which is not one of its tables ({tables}). {instead}"
