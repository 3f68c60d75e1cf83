"""What SQL does: the tables that a text reads and writes, in the dialect of either store.

Rule: the only file that knows sqlglot. What it cannot parse has no meaning, and so is no finding; the guards at run
time see it.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import Any, Final, NamedTuple

UNKNOWN: Final = "diptych_unknown"
"""Stands in a text for what is only known at run time."""

_BEGINS: Final = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*"
    r"(SELECT|INSERT|UPDATE|DELETE|WITH|REPLACE|MERGE|ATTACH|CREATE|DROP|ALTER|TRUNCATE|CALL|COPY)\s",
    re.IGNORECASE | re.DOTALL,
)
_REPLACE: Final = re.compile(r"^\s*REPLACE\s+INTO", re.IGNORECASE)
_UPDATE_OR: Final = re.compile(r"^\s*UPDATE\s+OR\s+\w+", re.IGNORECASE)
_GENERATION: Final = re.compile(r"__g\d+$")
_OURS: Final = ("", "main", "public", "diptych")  # schemas in which our tables are
_DIALECTS: Final = ("postgres", "sqlite")
_HOLES: Final = 4  # unknown parts of which each is tried as a name and as nothing


class Meaning(NamedTuple):
    """What a statement does. Tables are in lower case, without a generation, and without a schema if it is ours."""

    reads: frozenset[str]
    writes: frozenset[str]
    plain_inserts: frozenset[str]  # tables of an INSERT without ON CONFLICT
    relative: tuple[tuple[str, str], ...]  # (table, column) of `column = column + ...`
    has_guard: bool  # its WHERE compares a position or a version
    attaches: bool
    is_or_else: bool = False  # INSERT OR IGNORE, OR REPLACE: repeatable, but not what a projection's `db` takes

    @property
    def is_open(self) -> bool:
        """Whether a table is only known at run time."""
        return any(UNKNOWN in name for name in self.reads | self.writes)

    def renamed(self, name: Callable[[str], str]) -> "Meaning":
        """Return the same with other names for the tables."""
        return self._replace(
            reads=frozenset(map(name, self.reads)),
            writes=frozenset(map(name, self.writes)),
            plain_inserts=frozenset(map(name, self.plain_inserts)),
            relative=tuple((name(table), column) for table, column in self.relative),
        )


def is_available() -> bool:
    """Whether SQL can be looked at: it needs the package sqlglot."""
    try:
        import sqlglot  # noqa: F401
    except ImportError:
        return False
    return True


def verb(text: str) -> str | None:
    """Return the word that a text begins with if it may be SQL: `SELECT`."""
    begin = _BEGINS.match(text)
    return begin.group(1).upper() if begin is not None else None


@lru_cache(maxsize=4096)
def parsed(text: str) -> Meaning | None:
    """Return what a text of SQL does; of several statements all of it. None: it is not understood."""
    text = _UPDATE_OR.sub("UPDATE", _REPLACE.sub("INSERT OR REPLACE INTO", text))
    parts = text.split(UNKNOWN)
    holes = len(parts) - 1
    fillings: Iterable[tuple[str, ...]] = ((UNKNOWN,) * holes, ("",) * holes)
    if holes <= _HOLES:
        fillings = product((UNKNOWN, ""), repeat=holes)
    for filling in fillings:
        found = _parsed(parts[0] + "".join(map("".join, zip(filling, parts[1:], strict=True))))
        if found is not None:
            return found
    return None


def _parsed(text: str) -> Meaning | None:
    import sqlglot
    from sqlglot.errors import SqlglotError

    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it tells of each text that it does not know
    for dialect in _DIALECTS:
        try:
            trees = [tree for tree in sqlglot.parse(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE) if tree]
        except (SqlglotError, RecursionError, ValueError):
            continue
        if trees and not all(type(tree).__name__ in ("Command", "EndStatement") for tree in trees):
            return together([_meaning(tree) for tree in trees])
    return None


def _meaning(tree: Any) -> Meaning:
    from sqlglot import exp

    hidden = {each.alias.lower() for each in tree.find_all(exp.CTE)}
    writing = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable)
    writes: set[str] = set()
    targets: set[int] = set()
    plain: set[str] = set()
    relative: list[tuple[str, str]] = []
    is_or_else = False
    for node in tree.find_all(*writing, exp.Into, exp.Copy):
        tables = [table for table in _targets(node, exp) if table.name]
        targets.update(map(id, tables))
        names = {_named(table) for table in tables}
        writes |= names
        relative += _relative(node, exp)
        if isinstance(node, exp.Insert) and not isinstance(node.parent, exp.When) and not node.args.get("conflict"):
            plain |= names
            is_or_else = is_or_else or bool(node.args.get("alternative"))
    reads = {
        _named(table)
        for table in tree.find_all(exp.Table)
        if table.name and id(table) not in targets and (table.db or table.name.lower() not in hidden)
    }
    attaches = hasattr(exp, "Attach") and tree.find(exp.Attach) is not None
    guard = _has_guard(tree, exp)
    return Meaning(frozenset(reads), frozenset(writes), frozenset(plain), tuple(relative), guard, attaches, is_or_else)


def _targets(node: Any, exp: Any) -> list[Any]:
    """The tables that a part of a statement changes."""
    if isinstance(node, exp.Copy) and not node.args.get("kind"):
        return []  # COPY ... TO
    if isinstance(node, exp.TruncateTable):
        return list(node.expressions)
    if isinstance(node, exp.Delete | exp.Drop) and node.args.get("tables"):
        return list(node.args["tables"])
    target = node.this.this if isinstance(node.this, exp.Schema) else node.this
    return [target] if isinstance(target, exp.Table) else []


def _relative(node: Any, exp: Any) -> Iterator[tuple[str, str]]:
    """The columns that are set to something made of themselves, in UPDATE and in ON CONFLICT DO UPDATE."""
    conflict = node.args.get("conflict") if isinstance(node, exp.Insert) else None
    sets = node.expressions if isinstance(node, exp.Update) else conflict.expressions if conflict is not None else []
    for each in sets:
        if not (isinstance(each, exp.EQ) and isinstance(each.this, exp.Column)):
            continue
        for sum in each.expression.find_all(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.DPipe):
            own = [one for one in sum.find_all(exp.Column) if one.name == each.this.name and one.table != "excluded"]
            if own and (tables := _targets(node, exp)):
                yield _named(tables[0]), each.this.name
                break


def _has_guard(tree: Any, exp: Any) -> bool:
    return any(
        re.search(r"pos|version|seq", column.name, re.IGNORECASE)
        for where in tree.find_all(exp.Where)
        for column in where.find_all(exp.Column)
    )


def _named(table: Any) -> str:
    name, schema = _GENERATION.sub("", table.name.lower()), table.db.lower()
    return name if schema in _OURS else f"{schema}.{name}"


def together(found: list[Meaning]) -> Meaning:
    """Return what all of them do."""
    if len(found) == 1:
        return found[0]
    return Meaning(
        frozenset().union(*(one.reads for one in found)),
        frozenset().union(*(one.writes for one in found)),
        frozenset().union(*(one.plain_inserts for one in found)),
        tuple(dict.fromkeys(each for one in found for each in one.relative)),
        any(one.has_guard for one in found),
        any(one.attaches for one in found),
        any(one.is_or_else for one in found),
    )
