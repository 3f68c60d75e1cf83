"""The small changes that can be made to a file: one comparison turned, one statement left out, one number off by one.

Rule: pure; a change is a range of text and what stands there instead, so that all other lines stay where they are.
"""

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

_COMPARED: Final[dict[type[ast.cmpop], ast.cmpop]] = {
    ast.Lt: ast.LtE(), ast.LtE: ast.Lt(), ast.Gt: ast.GtE(), ast.GtE: ast.Gt(), ast.Eq: ast.NotEq(),
    ast.NotEq: ast.Eq(), ast.Is: ast.IsNot(), ast.IsNot: ast.Is(), ast.In: ast.NotIn(), ast.NotIn: ast.In(),
}  # fmt: skip
_COUNTED: Final[dict[type[ast.operator], ast.operator]] = {
    ast.Add: ast.Sub(), ast.Sub: ast.Add(), ast.Mult: ast.FloorDiv(), ast.FloorDiv: ast.Mult(),
}  # fmt: skip
_TOLD: Final = ("_log", "warnings", "faulthandler")  # what only people read


class Change(NamedTuple):
    """Put `new` in place of `old`, which begins at a line and column (from 0, in bytes) and ends at others."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    old: str
    new: str

    def applied(self, text: str) -> str:
        """Return a file's text with the change in it."""
        lines = text.encode().split(b"\n")
        before = [*lines[: self.line - 1], lines[self.line - 1][: self.column]]
        after = [lines[self.end_line - 1][self.end_column :], *lines[self.end_line :]]
        return (b"\n".join(before) + self.new.encode() + b"\n".join(after)).decode()

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {_short(self.old)}  ->  {_short(self.new)}"


def changes(path: str, text: str) -> Iterator[Change]:
    """Yield every change that can be made to a file, in the order of its lines."""
    tree = ast.parse(text)
    for node, new in _mutated(tree):
        old = ast.get_source_segment(text, node) or ""
        place = (node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)
        if old:
            yield Change(path, *place, old, new)


def _mutated(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    for node in _inside_functions(tree):
        if isinstance(node, ast.stmt):
            yield from _statement(node)
        elif isinstance(node, ast.expr):
            yield from _expression(node)


def _inside_functions(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what is run: bodies of functions, without annotations, defaults, docstrings and what is only told."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            body = function.body[1:] if ast.get_docstring(function) is not None else function.body
            for statement in body:
                yield from _within(statement)


def _within(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.JoinedStr | ast.Assert):
        return  # inner functions have their own turn; the rest is text, or there for the type checker
    if isinstance(node, ast.Expr | ast.Call) and ast.unparse(node).startswith(_TOLD):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _within(child)


def _statement(node: ast.stmt) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    if isinstance(node, ast.Raise | ast.Continue | ast.Break) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
    ):
        yield node, "pass"
    elif isinstance(node, ast.If | ast.While) and not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
        yield node.test, f"(not ({ast.unparse(node.test)}))"
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield node, "return None"
    elif isinstance(node, ast.AugAssign) and type(node.op) in _COUNTED:
        turned = ast.AugAssign(node.target, _COUNTED[type(node.op)], node.value)
        yield node, ast.unparse(turned)


def _expression(node: ast.expr) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
        turned = ast.Compare(node.left, [_COMPARED[type(node.ops[0])]], node.comparators)
        yield node, f"({ast.unparse(turned)})"
    elif isinstance(node, ast.BoolOp):
        other: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield node, f"({ast.unparse(ast.BoolOp(other, node.values))})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.BinOp) and type(node.op) in _COUNTED:
        yield node, f"({ast.unparse(ast.BinOp(node.left, _COUNTED[type(node.op)], node.right))})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield node, str(node.value + 1)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:67]}..."
