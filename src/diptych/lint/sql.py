"""SQL in strings: found in functions and what they call, parsed, and told by the tables that it reads and writes.

Rule: the only file that knows sqlglot. What cannot be parsed, or is made at run time, is not there; the guards at run
time see it.
"""

import ast
import logging
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from diptych.lint.calls import DEPTH, Called, calls, scope_of
from diptych.lint.project import Project
from diptych.lint.scope import Scope

_BEGINS: Final = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|REPLACE|MERGE|ATTACH|CREATE|DROP|ALTER|TRUNCATE|CALL|COPY)\s", re.IGNORECASE
)
_REPLACE: Final = re.compile(r"^\s*REPLACE\s+INTO", re.IGNORECASE)
_GENERATION: Final = re.compile(r"__g\d+$")
_UNKNOWN: Final = "diptych_unknown"  # stands for what an f-string puts in
_DIALECTS: Final = ("postgres", "sqlite")
_RUNNERS: Final = ("to_thread", "run_in_executor", "submit", "Thread", "run_sync", "create_task", "call_soon")


class Meaning(NamedTuple):
    """What a statement does. Tables are by their plain names, lower case."""

    reads: frozenset[str]
    writes: frozenset[str]
    plain_inserts: frozenset[str]  # tables of an INSERT without ON CONFLICT
    relative: tuple[tuple[str, str], ...]  # (table, column) of `column = column + ...`
    has_guard: bool  # its WHERE compares a position or a version
    attaches: bool


class Statement(NamedTuple):
    """SQL in a function, or in one that it calls: then `path` are the calls that lead there."""

    node: ast.expr
    text: str
    meaning: Meaning
    scope: Scope  # of the function that the text stands in
    path: tuple[Called, ...] = ()

    @property
    def receiver(self) -> str | None:
        """What the text is given to, by dotted name: `diptych.Db.execute`."""
        around = self.scope.module.parents.get(self.node)
        if isinstance(around, ast.keyword):
            around = self.scope.module.parents.get(around)
        return self.scope.dotted(around.func) if isinstance(around, ast.Call) else None


def is_available() -> bool:
    """Whether SQL can be looked at: it needs the package sqlglot."""
    try:
        import sqlglot  # noqa: F401
    except ImportError:
        return False
    return True


def statements(scope: Scope, project: Project, depth: int = DEPTH) -> Iterator[Statement]:
    """Yield the SQL of a function and of those that it calls, or has called in a thread or a task."""
    yield from _through(scope, project, depth, (), frozenset({id(scope.function)}))


def own_statements(scope: Scope) -> Sequence[Statement]:
    """Return the SQL that stands in a function, or in a constant that it gives to a call."""
    if not is_available():
        return ()
    known: Sequence[Statement] | None = scope.project.memory.get(("sql", scope.function))
    if known is None:
        known = scope.project.memory["sql", scope.function] = tuple(_own_statements(scope))
    return known


def _own_statements(scope: Scope) -> Iterator[Statement]:
    for node in scope.nodes:
        text = _text(node, scope)
        if text is None or not _BEGINS.match(text) or _is_part(node, scope):
            continue
        meaning = parsed(text)
        if meaning is not None:
            assert isinstance(node, ast.expr)
            yield Statement(node, text, meaning, scope)


def _through(
    scope: Scope, project: Project, depth: int, path: tuple[Called, ...], seen: frozenset[int]
) -> Iterator[Statement]:
    for one in own_statements(scope):
        yield one._replace(path=path)
    for call in calls(scope) if depth else ():
        for dotted in (call.dotted, *_handed_over(call, scope)):
            found = project.find(dotted)
            if found is None or isinstance(found.node, ast.ClassDef) or id(found.node) in seen:
                continue
            inner = scope_of(found, found.node, project)
            step = call._replace(dotted=dotted)
            yield from _through(inner, project, depth - 1, (*path, step), seen | {id(found.node)})


def _handed_over(call: Called, scope: Scope) -> Iterator[str]:
    """Functions that a call is given to run elsewhere: `asyncio.to_thread(save, order)`."""
    if call.dotted.rpartition(".")[2] in _RUNNERS:
        for argument in [*call.node.args, *(each.value for each in call.node.keywords)]:
            dotted = scope.dotted(argument) if isinstance(argument, ast.Name | ast.Attribute) else None
            if dotted is not None:
                yield dotted


def _text(node: ast.AST, scope: Scope) -> str | None:
    """The text of a string as far as it is known: constants, their sums, f-strings with something unknown in them."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [_text(part, scope) if isinstance(part, ast.Constant) else _put_in(part, scope) for part in node.values]
        return "".join(part or _UNKNOWN for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left, scope), _text(node.right, scope)
        return None if left is None else left + (right if right is not None else _UNKNOWN)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        left = _text(node.left, scope)
        return None if left is None else re.sub(r"%\(?\w*\)?[sd]", _UNKNOWN, left)
    if isinstance(node, ast.Name) and isinstance(scope.module.parents.get(node), ast.Call | ast.keyword):
        value = _value(node.id, scope)
        return _text(value, scope) if value is not None and not isinstance(value, ast.Name) else None
    if isinstance(node, ast.Call) and node.args and _is_text_call(node):
        return None  # its argument is looked at by itself
    return None


def _put_in(part: ast.expr, scope: Scope) -> str | None:
    if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name):
        value = _value(part.value.id, scope)
        return _text(value, scope) if isinstance(value, ast.Constant) else None
    return None


def _value(name: str, scope: Scope) -> ast.expr | None:
    """What a name is bound to, once: in the function, else in its module."""
    bound = scope.assigned.get(name, [])
    if len(bound) > 1:
        return None
    return bound[0] if bound else scope.module.constants.get(name)


def _is_text_call(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "text"


def _is_part(node: ast.AST, scope: Scope) -> bool:
    """Whether it is part of a longer text, a docstring, or bound to a name that is looked at itself."""
    around = scope.module.parents.get(node)
    if isinstance(around, ast.Assign):
        names = {each.id for each in around.targets if isinstance(each, ast.Name)}
        return any(
            isinstance(each, ast.Name)
            and each.id in names
            and isinstance(each.ctx, ast.Load)
            and _is_argument(each, scope)
            for each in scope.nodes
        )
    return isinstance(around, ast.BinOp | ast.JoinedStr | ast.FormattedValue | ast.Expr)


def _is_argument(node: ast.AST, scope: Scope) -> bool:
    return isinstance(scope.module.parents.get(node), ast.Call | ast.keyword)


@cache
def parsed(text: str) -> Meaning | None:
    """Return what a text of SQL does; of several statements all of it. None: it is not understood."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it tells of each text that it does not know
    text = _REPLACE.sub("INSERT OR REPLACE INTO", text)
    for dialect in _DIALECTS:
        try:
            trees = [tree for tree in sqlglot.parse(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE) if tree]
        except (SqlglotError, RecursionError, ValueError):
            continue
        if trees and not all(type(tree).__name__ == "Command" for tree in trees):
            return _together([_meaning(tree) for tree in trees])
    return None


def _meaning(tree: Any) -> Meaning:
    from sqlglot import exp

    hidden = {each.alias.lower() for each in tree.find_all(exp.CTE)}
    writes: set[str] = set()
    targets: set[int] = set()
    plain: set[str] = set()
    for node in tree.find_all(
        exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable
    ):
        for table in _targets(node, exp):
            writes.add(_plain(table))
            targets.add(id(table))
            is_ignoring = isinstance(node, exp.Insert) and (node.args.get("conflict") or node.args.get("alternative"))
            if isinstance(node, exp.Insert) and not is_ignoring:
                plain.add(_plain(table))
    reads = {
        _plain(table)
        for table in tree.find_all(exp.Table)
        if id(table) not in targets and table.name.lower() not in hidden
    }
    attach = getattr(exp, "Attach", None)
    relative = tuple(each for node in tree.find_all(exp.Update) for each in _relative(node, exp))
    return Meaning(
        frozenset(filter(None, reads)),
        frozenset(filter(None, writes)),
        frozenset(filter(None, plain)),
        relative,
        _has_guard(tree, exp),
        attach is not None and tree.find(attach) is not None,
    )


def _targets(node: Any, exp: Any) -> list[Any]:
    if isinstance(node, exp.TruncateTable):
        return list(node.expressions)
    if isinstance(node, exp.Delete) and node.args.get("tables"):
        return list(node.args["tables"])
    target = node.this.this if isinstance(node.this, exp.Schema) else node.this
    return [target] if isinstance(target, exp.Table) else []


def _relative(node: Any, exp: Any) -> Iterator[tuple[str, str]]:
    for each in node.expressions:
        if isinstance(each, exp.EQ) and isinstance(each.this, exp.Column) and isinstance(each.expression, exp.Binary):
            same = [one for one in each.expression.find_all(exp.Column) if one.name == each.this.name]
            if same and isinstance(node.this, exp.Table):
                yield _plain(node.this), each.this.name


def _has_guard(tree: Any, exp: Any) -> bool:
    where = tree.find(exp.Where)
    return where is not None and any(
        re.search(r"pos|version|seq", column.name, re.IGNORECASE) for column in where.find_all(exp.Column)
    )


def _plain(table: Any) -> str:
    return _GENERATION.sub("", table.name.lower())


def _together(found: list[Meaning]) -> Meaning:
    return Meaning(
        frozenset().union(*(one.reads for one in found)),
        frozenset().union(*(one.writes for one in found)),
        frozenset().union(*(one.plain_inserts for one in found)),
        tuple(each for one in found for each in one.relative),
        any(one.has_guard for one in found),
        any(one.attaches for one in found),
    )
