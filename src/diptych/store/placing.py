"""From the plain names of read models to the tables of the generations that are worked on or read.

Where a statement can only mean a table it is named, with its plain name as alias. Any other use of a name means what it
did before, or a common table expression of the plain name.
Rule: a statement's words are looked at, never its meaning: a name too many in the expression costs nothing.
"""

from collections.abc import Collection, Mapping
from typing import Final

from diptych.errors import ProgrammingError
from diptych.store.batches import ProjectionTables
from diptych.store.generations import placed
from diptych.store.sources import table_names, tokens
from diptych.store.sql_text import short, words
from diptych.store.tables import PLACED, Table, plain_name

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
            known = self._reads[sql] = self._with_names(self._placed(sql), sql) if is_select else sql
        return known

    def change(self, sql: str) -> str:
        """Return a statement that may change rows as one that changes the generations'."""
        known = self._changes.get(sql)
        if known is None:
            if len(self._changes) >= _MOST:
                self._changes.clear()
            known = self._changes[sql] = self._with_names(self._placed(sql), sql)
        return known

    def _with_names(self, sql: str, given: str) -> str:
        """Return a statement with an expression for each of our names in the given one."""
        found = [token for token in tokens(given) if token.is_name]
        for token in found:
            if PLACED.fullmatch(token.name):
                raise ProgrammingError(
                    f"{token.name} is a generation's own table; say {plain_name(token.name)}: {short(given)}"
                )
        names = sorted({token.name for token in found} & self._tables.keys())
        if not names or found[0].word not in _VERBS:
            return sql
        parts = ", ".join(
            f'"{name}" AS NOT MATERIALIZED (SELECT * FROM "{self._tables[name].name}")'  # noqa: S608 - checked names
            for name in names
        )
        first, second, *_ = [*tokens(sql), *tokens(sql)]
        if first.word != "WITH":
            return f"{sql[: first.start]}WITH {parts} {sql[first.start :]}"
        at = second.end if second.word == "RECURSIVE" else first.end
        return f"{sql[:at]} {parts},{sql[at:]}"

    def _placed(self, sql: str) -> str:
        """Return a statement with the generations' names where tables are named, so that their keys are known there."""
        pieces, end = [], 0
        for token, _, has_alias in table_names(sql):
            if token.name in self._tables:
                alias = "" if has_alias else f' AS "{token.name}"'
                pieces += [sql[end : token.start], f'"{self._tables[token.name].name}"{alias}']
                end = token.end
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
