"""Hand-written SQL as text: its words, its named parameters, and what may not stand in it.

Rule: what a statement may touch is judged by the database; here is only what a database cannot be asked.
"""

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

from diptych.errors import ProgrammingError

_TOKEN: Final = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|[:@$]\w+|\[[^\]]*\]|\w+|;""", re.S
)
_NOW: Final = re.compile(
    r"\b(?:(?:date|time|datetime|julianday|unixepoch)\s*\(\s*\)|strftime\s*\([^(),]*\)"
    r"|(?:date|time|datetime|julianday|unixepoch|strftime|timediff)\s*\([^()]*'now')",
    re.I,
)
_REPLACING: Final = {("INSERT", "OR"), ("UPDATE", "OR"), ("REPLACE", "INTO")}


@lru_cache(maxsize=512)
def words(sql: str) -> tuple[str, ...]:
    """Return the bare words of a statement in upper case, `;` among them, without comments and quoted text."""
    found = (match.group() for match in _TOKEN.finditer(sql))
    return tuple(word.upper() for word in found if word == ";" or word[0].isalnum() or word[0] == "_")


def refuse_several(sql: str) -> None:
    """:raises ProgrammingError: there is more than one statement in it."""
    if any(word == ";" for word in words(sql.strip().rstrip(";"))):
        raise ProgrammingError(f"One statement at a time, not several: {short(sql)}")


def refuse_unrepeatable(sql: str) -> None:
    """:raises ProgrammingError: run a second time it would do something else."""
    found = words(sql)
    first = found[0] if found else ""
    pairs = set(pairwise(found))
    is_replace = first == "REPLACE" or not pairs.isdisjoint(_REPLACING)
    is_bare = "INSERT" in found and ("ON", "CONFLICT") not in pairs
    if is_replace or is_bare:
        raise ProgrammingError(
            "INSERT needs ON CONFLICT (key) DO UPDATE or DO NOTHING, so that it may run twice (rule DP201): "
            f"{short(sql)}"
        )
    if _NOW.search(sql):
        raise ProgrammingError(
            f"The clock gives another answer the next time; use meta.recorded_at (rule DP206). In: {short(sql)}"
        )


def short(sql: str) -> str:
    """Return the beginning of a statement on one line, for an error's sentence."""
    text = " ".join(sql.split())
    return text if len(text) <= 120 else text[:119] + "…"
