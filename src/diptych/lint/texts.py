"""Which text an expression is, as far as the source says: constants, what is put together of them, names for them.

Rule: what is only known at run time is `UNKNOWN` in the text; an expression that begins with it is no text.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from diptych.lint.scope import Scope, scope_of_module
from diptych.lint.sql import UNKNOWN

_DEEP: Final = 6  # names for names, wrappers in wrappers
_PARTS: Final = 64  # of one sum; longer ones are no statement that a person wrote
_WRAPPERS: Final = ("text", "SQL", "dedent", "cleandoc")
_SAME: Final = ("strip", "lstrip", "rstrip")
_PERCENT: Final = re.compile(r"%(?:\(\w+\))?[sdrif]")
_BRACES: Final = re.compile(r"\{(\w*)(?:![rsa])?(?::[^{}]*)?\}")


class _Names(NamedTuple):
    """What names of a function are bound to, and what is added to them later."""

    bound: dict[str, list[ast.expr]]
    added: dict[str, list[ast.expr]]


def texts(node: ast.expr | None, scope: Scope, deep: int = _DEEP) -> Sequence[str]:
    """Return what a text may be: several, if it is chosen at run time among some that are known."""
    found = list(_texts(node, scope, deep)) if node is not None and deep else []
    return [text for text in dict.fromkeys(found) if text and not text.startswith(UNKNOWN)]


def is_wrapper(node: ast.expr) -> bool:
    """Whether it is a call that makes SQL of its text: `text("SELECT ...")`."""
    return isinstance(node, ast.Call) and _last(node.func) in ("text", "SQL") and bool(node.args)


def constant_of(node: ast.expr, scope: Scope) -> ast.Constant | None:
    """Return the constant that an expression is, or that a variable is bound to, once."""
    if isinstance(node, ast.Name):
        names = _names(scope)
        bound = names.bound.get(node.id, [])
        if len(bound) != 1 or node.id in names.added:
            return None
        node = bound[0]
    return node if isinstance(node, ast.Constant) else None


def _texts(node: ast.expr, scope: Scope, deep: int) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            _part(each.value if isinstance(each, ast.FormattedValue) else each, scope, deep) for each in node.values
        )
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _sum(node, scope, deep)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        for text in texts(node.left, scope, deep - 1):
            yield _percent(text, node.right, scope, deep)
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body, scope, deep - 1)
        yield from texts(node.orelse, scope, deep - 1)
    elif isinstance(node, ast.NamedExpr):
        yield from texts(node.value, scope, deep - 1)
    elif isinstance(node, ast.Call):
        yield from _of_call(node, scope, deep)
    elif isinstance(node, ast.Name | ast.Attribute):
        yield from _of_name(node, scope, deep)


def _part(node: ast.expr, scope: Scope, deep: int) -> str:
    """A part of a text: the first that it may be, or unknown."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return next(iter(texts(node, scope, deep - 1)), UNKNOWN)


def _sum(node: ast.BinOp, scope: Scope, deep: int) -> Iterator[str]:
    rest: list[ast.expr] = []
    first: ast.expr = node
    while isinstance(first, ast.BinOp) and isinstance(first.op, ast.Add):  # a long sum is a deep tree
        rest.append(first.right)
        first = first.left
    if len(rest) <= _PARTS:
        more = "".join(_part(each, scope, deep) for each in reversed(rest))
        for text in texts(first, scope, deep - 1):
            yield text + more


def _percent(text: str, right: ast.expr, scope: Scope, deep: int) -> str:
    values = iter(right.elts if isinstance(right, ast.Tuple) else [right] if not isinstance(right, ast.Dict) else [])

    def put_in(_: re.Match[str]) -> str:
        value = next(values, None)
        return _part(value, scope, deep) if value is not None else UNKNOWN

    return _PERCENT.sub(put_in, text)


def _of_call(node: ast.Call, scope: Scope, deep: int) -> Iterator[str]:
    if isinstance(node.func, ast.Attribute) and node.func.attr in _SAME and not node.args:
        for text in texts(node.func.value, scope, deep - 1):
            yield getattr(text, node.func.attr)()
    elif isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        for text in texts(node.func.value, scope, deep - 1):
            yield _formatted(text, node, scope, deep)
    elif _last(node.func) in _WRAPPERS and node.args:
        yield from texts(node.args[0], scope, deep - 1)


def _formatted(text: str, node: ast.Call, scope: Scope, deep: int) -> str:
    named = {each.arg: each.value for each in node.keywords if each.arg}
    at = iter(range(len(node.args)))

    def put_in(match: re.Match[str]) -> str:
        name = match.group(1)
        index = next(at, -1) if not name else int(name) if name.isdigit() else -1
        value = node.args[index] if 0 <= index < len(node.args) else named.get(name)
        return _part(value, scope, deep) if value is not None else UNKNOWN

    return _BRACES.sub(put_in, text)


def _of_name(node: ast.Name | ast.Attribute, scope: Scope, deep: int) -> Iterator[str]:
    names = _names(scope)
    if isinstance(node, ast.Name) and node.id in names.bound:
        added = "".join(_part(each, scope, deep) for each in names.added.get(node.id, ()))
        for value in names.bound[node.id]:
            for text in texts(value, scope, deep - 1):
                yield text + added
        return
    if isinstance(node, ast.Name) and scope.binds(node.id):
        return  # a parameter
    dotted = scope.project.dotted(node, scope.module) if isinstance(node, ast.Name) else scope.dotted(node)
    if dotted is None:
        return
    constant = scope.project.constant(dotted)
    if constant is not None:
        yield from texts(constant[1], scope_of_module(constant[0], scope.project), deep - 1)
        return
    owner, _, name = dotted.rpartition(".")
    cls = scope.project.find(owner)
    for each in cls.node.body if cls is not None and isinstance(cls.node, ast.ClassDef) else []:
        if isinstance(each, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in each.targets):
            yield from texts(each.value, scope, deep - 1)


def _names(scope: Scope) -> _Names:
    known: _Names | None = scope.project.memory.get(("texts", scope.function))
    if known is None:
        known = _Names({}, {})
        for node in scope.nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        known.bound.setdefault(target.id, []).append(node.value)
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name) and node.value:
                known.bound.setdefault(node.target.id, []).append(node.value)
            elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Name):
                known.added.setdefault(node.target.id, []).append(node.value)
        scope.project.memory["texts", scope.function] = known
    return known


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
