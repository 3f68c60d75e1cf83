"""From the plain names of read models to the tables of the generations that are worked on or read.

A read goes through a common table expression of the plain name, so that columns and aliases named alike stay what they
are; the target of a change is named, with its plain name as alias.
Rule: a statement's words are looked at, never its meaning: a name too many in the expression costs nothing.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from diptych.errors import ProgrammingError
from diptych.store.batches import ProjectionTables
from diptych.store.generations import placed
from diptych.store.sql_text import short, words
from diptych.store.tables import PLACED, Table, plain_name

_TOKEN: Final = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|e'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|[:@$]\w+"""
    r'|"(?P<quoted>(?:[^"]|"")*)"|`(?P<ticked>[^`]*)`|\[(?P<boxed>[^\]]*)\]|(?P<word>[^\W\d]\w*)|(?P<dot>\.)',
    re.S | re.I,
)
_TARGET: Final = ("INTO", "UPDATE", "FROM", "ONLY")
_NO_ALIAS: Final = frozenset({"", "SET", "WHERE", "USING", "RETURNING", "DEFAULT", "VALUES", "SELECT", "WITH", "ON"})
_VERBS: Final = frozenset({"SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE"})  # others are refused as they are
_MOST: Final = 1000


class Placing:
    """The generations of some projections, and statements as they are for those. One that changes is another object."""

    def __init__(self, generations: Mapping[str, int], tables: Mapping[str, Table], owners: Mapping[str, str]) -> None:
        """`tables` by plain name, `owners`: the projection of each, by the same."""
        self.generations = generations
        self._tables = {name: placed(table, generations[owners[name]]) for name, table in tables.items()}
        self._reads: dict[str, str] = {}
        self._changes: dict[str, str] = {}

    @property
    def tables(self) -> Collection[Table]:
        """The tables of the generations."""
        return self._tables.values()

    def table(self, table: Table) -> Table:
        """Return the table that stands for a read model's. KeyError: it is none of these."""
        return self._tables[table.name]

    def read(self, sql: str) -> str:
        """Return a SELECT over plain names as one over the generations'; what is none, as it is, to be refused."""
        known = self._reads.get(sql)
        if known is None:
            if len(self._reads) >= _MOST:
                self._reads.clear()
            is_select = (words(sql) or ("",))[0] in ("SELECT", "WITH", "VALUES")
            known = self._reads[sql] = self._with_names(sql, sql) if is_select else sql
        return known

    def change(self, sql: str) -> str:
        """Return a statement that may change rows as one that changes the generations'."""
        known = self._changes.get(sql)
        if known is None:
            if len(self._changes) >= _MOST:
                self._changes.clear()
            known = self._changes[sql] = self._with_names(self._targeted(sql), sql)
        return known

    def _with_names(self, sql: str, given: str) -> str:
        names: dict[str, str] = {}
        first = None
        for match, name, _ in _identifiers(given):
            if first is None:
                first = match
            if PLACED.fullmatch(name):
                raise ProgrammingError(f"{name} is a generation's own table; say {plain_name(name)}: {short(given)}")
            if name in self._tables:
                names.setdefault(name, self._tables[name].name)
        if not names or first is None or first.group().upper() not in _VERBS:
            return sql
        parts = [f'"{name}" AS NOT MATERIALIZED (SELECT * FROM "{place}")' for name, place in sorted(names.items())]  # noqa: S608 - checked names
        start = next(match for match, _, _ in _identifiers(sql))
        if start.group().upper() != "WITH":
            return f"{sql[: start.start()]}WITH {', '.join(parts)} {sql[start.start() :]}"
        words = (match for match, _, _ in _identifiers(sql))
        next(words)
        second = next(words, start)
        at = second.end() if second.group().upper() == "RECURSIVE" else start.end()
        return f"{sql[:at]} {', '.join(parts)},{sql[at:]}"

    def _targeted(self, sql: str) -> str:
        found = [(match, name, is_part) for match, name, is_part in _identifiers(sql)]
        upper = ["", "", *(match.group().upper() for match, _, _ in found), ""]
        pieces, end = [], 0
        for at, (match, name, is_part) in enumerate(found):
            before, last, after = upper[at], upper[at + 1], upper[at + 3]
            is_target = last in _TARGET and (last != "FROM" or before == "DELETE") and name in self._tables
            if not is_target or is_part:
                continue
            alias = f' AS "{name}"' if after in _NO_ALIAS or (last == "INTO" and after != "AS") else ""
            pieces += [sql[end : match.start()], f'"{self._tables[name].name}"{alias}']
            end = match.end()
        return "".join([*pieces, sql[end:]])


class Known:
    """A projection as this process knows it, with the placings of its generations."""

    def __init__(self, projection: ProjectionTables) -> None:
        self.projection, self.version, self.shape = projection, projection.version, projection.shape
        self._tables = {table.name: table for table in projection.tables}
        self._placings: dict[int, Placing] = {}

    def placing(self, generation: int) -> Placing:
        """Return where the tables of a generation are."""
        found = self._placings.get(generation)
        if found is None:
            name = self.projection.name
            found = Placing({name: generation}, self._tables, dict.fromkeys(self._tables, name))
            self._placings[generation] = found
        return found


def _identifiers(sql: str) -> Iterator[tuple[re.Match[str], str, bool]]:
    """Yield words and quoted names with the name they mean, and whether they stand after a dot."""
    is_part = False
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup
        if kind in ("word", "quoted", "ticked", "boxed"):
            name = match[kind]
            yield match, name.lower() if kind == "word" else name, is_part
        is_part = kind == "dot"
