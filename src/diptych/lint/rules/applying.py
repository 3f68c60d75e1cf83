"""DP303, DP304: an aggregate's `@on` methods accept every past fact, and are the only place where its state changes."""

import ast
from collections.abc import Iterator

from diptych.lint.findings import Finding, Severity
from diptych.lint.module import Function, Module
from diptych.lint.project import Project
from diptych.lint.roles import Part, roles
from diptych.lint.rule import Rule


def _raises(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part is not Part.APPLY:
            continue
        for node in _own(role.function):
            if isinstance(node, ast.Raise | ast.Assert):
                what = "asserts" if isinstance(node, ast.Assert) else "raises"
                yield Finding(
                    "DP303",
                    module.place(node),
                    f"`{role.name}` {what} while it applies a past event; the history would become unreadable",
                    "Decide in the method that records the event. An @on method accepts every fact that was recorded.",
                    role.name,
                    "what has happened cannot be refused",
                )


def _changes(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part is not Part.DECIDE or role.function.name.startswith("__") or not role.function.args.args:
            continue
        me = role.function.args.args[0].arg
        for node in _own(role.function):
            attribute = _set_on(node, me)
            if attribute is not None:
                yield Finding(
                    "DP304",
                    module.place(node),
                    f"`{role.name}` sets `{me}.{attribute}` outside @on; the change is lost on the next load",
                    f"Record an event, and set `{attribute}` in the @on method of that event.",
                    role.name,
                    "state changes only in @on",
                )


def _own(function: Function) -> Iterator[ast.AST]:
    for node in function.body:
        yield from ast.walk(node)


def _set_on(node: ast.AST, me: str) -> str | None:
    """The attribute of `me` that a statement sets, if it does."""
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    else:
        return None
    for target in targets:
        inner = target.value if isinstance(target, ast.Subscript) else target
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == me:
            return inner.attr
    return None


RULES = (
    Rule(
        "DP303",
        "decision raises from apply",
        Severity.ERROR,
        "An @on method is played for every event of the past, each time the aggregate is loaded. If it refuses one, "
        "the aggregate can never be loaded again, and no command can mend it.",
        _raises,
    ),
    Rule(
        "DP304",
        "state changed outside apply",
        Severity.ERROR,
        "An aggregate is rebuilt from its events. What a method changes without an event is there until the object is "
        "forgotten, and then it is gone: decisions made on it cannot be explained by the log.",
        _changes,
    ),
)
