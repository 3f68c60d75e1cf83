"""DP303, DP304: an aggregate's `@on` methods accept every past fact, and are the only place where its state changes."""

import ast
from collections.abc import Iterator
from typing import Final

from diptych.lint.calls import calls
from diptych.lint.findings import Finding, Note, Severity
from diptych.lint.module import Function, Module, walked
from diptych.lint.project import Project
from diptych.lint.roles import Part, Role, roles
from diptych.lint.rule import Rule
from diptych.lint.scope import is_static

_CHANGING: Final = (
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard", "sort",
)  # fmt: skip
_PLAIN: Final = ("list", "dict", "set", "collections.deque", "collections.defaultdict", "collections.Counter")
_ACCEPT: Final = "Decide in the method that records the event. An @on method accepts every fact that was recorded."


def _raises(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part is not Part.APPLY:
            continue
        for node in _own(role.function):
            if isinstance(node, ast.Raise | ast.Assert):
                what = "asserts" if isinstance(node, ast.Assert) else "raises"
                message = f"`{role.name}` {what} while it applies a past event; the history would become unreadable"
                place = module.place(node)
                yield Finding("DP303", place, message, _ACCEPT, role.name, "what has happened cannot be refused")
        yield from _checks(role, module, project)


def _checks(role: Role, module: Module, project: Project) -> Iterator[Finding]:
    """An `@on` method that calls a check which decisions use, too."""
    parts = {f"{module.name}.{each.name}": each for each in roles(module, project) if each.part is Part.DECIDE}
    for call in calls(role.scope(project)):
        check = parts.get(call.dotted)
        raised = None if check is None else next((n for n in check.function.body if _is_refusal(n)), None)
        if check is not None and raised is not None:
            message = f"`{role.name}` calls `{check.function.name}`, which raises; the history would become unreadable"
            note = Note(module.place(raised), "here")
            place = module.place(call.node)
            yield Finding("DP303", place, message, _ACCEPT, role.name, "may refuse what has happened", (note,))


def _is_refusal(node: ast.stmt) -> bool:
    """A statement that raises, or an `if` that does: what a check is made of."""
    return isinstance(node, ast.Raise) or (isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise))


def _changes(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part is Part.DECIDE and not role.function.name.startswith("__") and not is_static(role.function):
            yield from _changes_itself(role, module, project)
        elif role.part is Part.COMMAND:
            yield from _changes_loaded(role, module, project)


def _changes_itself(role: Role, module: Module, project: Project) -> Iterator[Finding]:
    scope = role.scope(project)
    for node in _own(role.function):
        for target in _changed(node):
            if isinstance(target.value, ast.Name) and scope.type_of(target.value.id) == role.owner:
                if isinstance(node, ast.Call) and not _is_plain(role, target.attr, module, project):
                    continue
                yield _outside(role, node, target, module)


def _changes_loaded(role: Role, module: Module, project: Project) -> Iterator[Finding]:
    scope = role.scope(project)
    for node in _own(role.function):
        for target in _changed(node):
            is_state = not isinstance(node, ast.Call) and project.is_a(scope.dotted(target.value), "Aggregate")
            if is_state:
                yield _outside(role, node, target, module)


def _outside(role: Role, node: ast.AST, target: ast.Attribute, module: Module) -> Finding:
    return Finding(
        "DP304",
        module.place(node),
        f"`{role.name}` sets `{module.source(target)}` outside @on; the change is lost on the next load",
        f"Record an event, and set `{target.attr}` in the @on method of that event.",
        role.name,
        "state changes only in @on",
    )


def _own(function: Function) -> Iterator[ast.AST]:
    for node in function.body:
        yield from walked(node)


def _changed(node: ast.AST) -> Iterator[ast.Attribute]:
    """Yield the attributes that a statement sets, or whose content it changes: `self.lines[1] = x`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
        targets = [node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
        targets = [node.func.value]
    for target in targets:
        for each in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
            inner = each
            while isinstance(inner, ast.Subscript):
                inner = inner.value
            if isinstance(inner, ast.Attribute):
                yield inner


def _is_plain(role: Role, attribute: str, module: Module, project: Project) -> bool:
    """Whether state is declared as one of Python's containers: others may have an `add` that changes nothing."""
    cls = module.defined.get(role.name.rpartition(".")[0])
    for node in cls.body if isinstance(cls, ast.ClassDef) else []:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == attribute:
            outer = node.annotation.value if isinstance(node.annotation, ast.Subscript) else node.annotation
            is_own = isinstance(outer, ast.Name) and not module.binds(outer.id)
            return (module.source(outer) if is_own else project.dotted(outer, module)) in _PLAIN
    return False


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
