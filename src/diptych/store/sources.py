"""Where a statement names tables: what follows FROM, JOIN, INTO and the like, and the commas between such.

Rule: only what is certain. A name that may mean a column, a function or a part of the statement itself is not given.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|e'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|[:@$]\w+"""
    r'|"(?P<quoted>(?:[^"]|"")*)"|`(?P<ticked>[^`]*)`|\[(?P<boxed>[^\]]*)\]|(?P<word>[^\W\d]\w*)|(?P<sign>[.,()])',
    re.S | re.I,
)
_NAMES: Final = frozenset({"word", "quoted", "ticked", "boxed"})
_FROM_INSIDE: Final = frozenset({"EXTRACT", "SUBSTRING", "TRIM", "OVERLAY"})  # EXTRACT(day FROM at)
_ENDS: Final = frozenset(
    {"WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "FETCH", "WINDOW", "UNION", "INTERSECT", "EXCEPT", "FOR"}
    | {"RETURNING", "SELECT", "SET", "VALUES"}
)
_NO_ALIAS: Final = _ENDS | frozenset(
    {"JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL", "ON", "USING", "TABLESAMPLE", "INDEXED", "NOT"}
    | {"DEFAULT", "WITH", "OVERRIDING"}
)


class Token(NamedTuple):
    """A word, a quoted name or a sign. `name` is what it means as a name, `word` what it says, in upper case."""

    start: int
    end: int
    name: str
    word: str
    is_name: bool


def tokens(sql: str) -> Iterator[Token]:
    """Yield what a statement is made of, without comments, texts and parameters."""
    for match in _TOKEN.finditer(sql):
        kind, text = match.lastgroup, match.group()
        if kind in _NAMES:
            name = match[kind]
            word = text.upper() if kind == "word" else ""
            yield Token(match.start(), match.end(), name.lower() if word else name, word, is_name=True)
        elif kind == "sign":
            yield Token(match.start(), match.end(), "", text, is_name=False)


class TableName(NamedTuple):
    """A name that can only be a table's; `is_target` of a change, else a source of rows."""

    token: Token
    is_target: bool
    has_alias: bool


@dataclass(slots=True)
class _Level:
    """What is known between two parentheses."""

    opener: str = ""
    verb: str = ""
    expects: str = ""  # "source", "target" or "into": the next name is that
    is_in_from: bool = False
    is_in_with: bool = False


class _Walk:
    """One way through a statement."""

    def __init__(self, sql: str) -> None:
        self.found: list[TableName] = []
        self.given: set[str] = set()  # names that the statement gives to parts of itself
        nothing = Token(0, 0, "", "", is_name=False)
        self._levels = [_Level()]
        every = [nothing, *tokens(sql), nothing, nothing]
        for before, token, after in zip(every, every[1:], every[2:], strict=False):
            self._step(before, token, after)

    def _step(self, before: Token, token: Token, after: Token) -> None:
        level = self._levels[-1]
        if token.word == "(":
            is_join = level.expects == "source"
            level.expects = ""
            self._levels.append(_Level(before.word, expects="source" if is_join else "", is_in_from=is_join))
        elif token.word == ")":
            if len(self._levels) > 1:
                self._levels.pop()
        elif token.word == ",":
            level.expects = "source" if level.is_in_from else "part" if level.is_in_with else ""
        elif not self._is_keyword(level, before, token, after) and token.is_name and level.expects:
            self._name(level, before, token, after)

    def _is_keyword(self, level: _Level, before: Token, token: Token, after: Token) -> bool:
        word = token.word
        if word == "WITH":
            level.is_in_with, level.expects = True, "part"
        elif word == "FROM":
            if before.word != "DISTINCT" and level.opener not in _FROM_INSIDE:
                level.is_in_from, level.expects = True, "target" if before.word == "DELETE" else "source"
        elif word == "JOIN" and level.is_in_from:
            level.expects = "source"
        elif word == "INTO":
            level.expects = "into"
        elif word == "UPDATE":
            level.verb, level.is_in_with = word, False
            level.expects = "" if before.word in ("DO", "FOR", "KEY") else "target"
        elif word == "DELETE":
            level.verb, level.is_in_with = word, False
        elif word == "USING" and level.verb == "DELETE" and after.word != "(":
            level.is_in_from, level.expects = True, "source"
        elif word in _ENDS:
            level.is_in_from, level.expects = False, ""
            level.is_in_with = level.is_in_with and word not in ("SELECT", "VALUES")
        else:
            return word in ("ONLY", "LATERAL", "RECURSIVE") and bool(level.expects)
        return True

    def _name(self, level: _Level, before: Token, token: Token, after: Token) -> None:
        expects, level.expects = level.expects, ""
        if expects == "part":
            self.given.add(token.name)
        elif before.word != "." and after.word != "." and (expects == "into" or after.word != "("):
            is_alias = after.word == "AS" or (after.is_name and after.word not in _NO_ALIAS and expects != "into")
            self.found.append(TableName(token, expects != "source", is_alias))


def table_names(sql: str) -> list[TableName]:
    """Return the names in a statement that can only mean tables, in order."""
    walk = _Walk(sql)
    return [each for each in walk.found if each.is_target or each.token.name not in walk.given]
