"""Values and lines of code as people see them.

Rule: nothing here knows an event, a row or an aggregate.
"""

import linecache
import re
from copy import deepcopy
from typing import Any, Final

LONGEST: Final = 200


def copied(value: Any) -> Any:
    """Copy a value as deep as it goes; what cannot be copied stands for itself as text."""
    try:
        return deepcopy(value)
    except Exception:
        return f"<{type(value).__name__}>"


def short(value: Any) -> str:
    """Show a value on one line that is not too long to read."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def quoted(place: str) -> str:
    """Return the line of code at a place (`file:line name`), to stand on lines of its own."""
    found = re.match(r"(.+?):(\d+) ", place)
    line = linecache.getline(found[1], int(found[2])).strip() if found else ""
    return f"\n\n    {found[2]} | {line}\n\n" if found and line else " "
