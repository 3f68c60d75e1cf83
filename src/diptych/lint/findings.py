"""What a rule found: what, where, why it matters here, and the edit that mends it.

Rule: plain values, so that findings can be compared, sorted, cached and printed by anybody.
"""

from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How bad it is: an error breaks a promise, a warning a good habit, an info only tells."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Place(NamedTuple):
    """A range of source. Lines and columns count from 1, columns in characters; the end column is the one after."""

    path: str  # as given on the command line or found below it, with forward slashes
    line: int
    column: int
    end_line: int
    end_column: int


class Edit(NamedTuple):
    """Put `text` in place of what is there; an empty range inserts."""

    place: Place
    text: str


class Fix(NamedTuple):
    """All edits or none. `imports` are what the new text needs: `("datetime", "UTC")`, `("asyncio", "")` for a module.

    Safe: nothing that worked changes its meaning. Everything else is unsafe, and only done when asked for.
    """

    title: str
    edits: tuple[Edit, ...]
    is_safe: bool = False
    imports: tuple[tuple[str, str], ...] = ()


class Note(NamedTuple):
    """Another place that matters, such as where the table's owner is declared."""

    place: Place
    text: str


class Finding(NamedTuple):
    """One violation of one rule at one place."""

    rule: str  # DP101
    place: Place
    message: str  # "`get_order` reads table `events`; queries must use a read model"
    hint: str  # what to do instead, as sentences or code
    name: str = ""  # the qualified name of the function or class it is in: what a baseline remembers
    label: str = ""  # a few words under the carets
    notes: tuple[Note, ...] = ()
    fix: Fix | None = None
