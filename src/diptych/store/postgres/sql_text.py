"""Hand-written SQL as PostgreSQL spells it: its named parameters, and names that may not stand in it.

Rule: which tables a statement touches is judged by PostgreSQL (`judge`); here is what it cannot be asked.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|\Z)|e'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::"
    r'|u&"(?:[^"]|"")*"|"(?P<quoted>(?:[^"]|"")*)"|(?P<word>[^\W\d]\w*)'
    r"|:(?P<parameter>[^\W\d]\w*)(?P<test>\s+IS\s+(?:NOT\s+)?NULL\b)?",
    re.S | re.I,
)
_OUTSIDE: Final = re.compile(r"pg_\w+|lo_\w+|dblink\w*|\w+_to_xml\w*|set_config|u&.*|nextval|setval|currval|lastval")
_CHANGING: Final = re.compile(
    r"random(?:_normal)?|gen_random_\w+|uuidv\d|now|(?:current|clock|statement|transaction)_timestamp|localtimestamp"
    r"|timeofday|current_date|current_time|localtime|txid_\w+"
)
_MOMENT: Final = re.compile(r"'\s*(?:now|today|tomorrow|yesterday)\s*'", re.I)


class Parameter(NamedTuple):
    """What stands at `$n`. `is_test`: only whether it is None matters, and PostgreSQL could not tell its type."""

    name: str
    is_test: bool = False


class Numbered(NamedTuple):
    """A statement with `$1` for `:name`, and the names it uses: bare words and quoted ones, in lower case."""

    sql: str
    parameters: tuple[Parameter, ...]
    names: frozenset[str]


@lru_cache(maxsize=1024)
def numbered(sql: str) -> Numbered:
    """Return a statement as PostgreSQL takes it."""
    found: dict[Parameter, None] = {}
    names: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        text, name, test = match.group(), match["parameter"], match["test"] or ""
        if name is None:
            word = match["word"] or match["quoted"] or (text if text[:2].lower() == "u&" else "")
            names.add(word.lower())
            return text
        parameter = Parameter(name, bool(test))
        found.setdefault(parameter)
        place = f"${list(found).index(parameter) + 1}"
        return f"{place}::text{test}" if test else place

    return Numbered(_TOKEN.sub(replace, sql), tuple(found), frozenset(names - {""}))


def outside(names: frozenset[str]) -> str | None:
    """Return a name that leads out of the registered tables, if there is one: functions that read files, say."""
    return min(filter(_OUTSIDE.fullmatch, names), default=None)


def changing(sql: str, names: frozenset[str]) -> str | None:
    """Return a name that means something else the next time, if there is one."""
    moment = _MOMENT.search(sql)
    return moment.group() if moment else min(filter(_CHANGING.fullmatch, names), default=None)
