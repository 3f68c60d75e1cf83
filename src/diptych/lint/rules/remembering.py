"""DP207, DP209: a projection keeps nothing beside its rows, and hides nothing that fails."""

import ast
from collections.abc import Iterator
from typing import Final

from diptych.lint.findings import Finding, Severity
from diptych.lint.module import Function, Module
from diptych.lint.project import Project
from diptych.lint.roles import PROJECTING, roles
from diptych.lint.rule import Rule
from diptych.lint.scope import is_static

_CHANGING: Final = (
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard",
    "appendleft",
)  # fmt: skip
_CONTAINERS: Final = ("dict", "list", "set", "collections.defaultdict", "collections.deque", "collections.Counter")


def _keeps_state(module: Module, project: Project) -> Iterator[Finding]:
    for name, function in _methods(module, project):
        for node in ast.walk(function):
            kept = _kept(node, function, module, project)
            if kept is not None:
                yield Finding(
                    "DP207",
                    module.place(node),
                    f"`{name}` keeps `{kept}` between events; a restart forgets it, and other workers never knew it",
                    "Keep it in a read model of the projection, or compute it from the row and the event.",
                    name,
                    "gone with this process",
                )


def _methods(module: Module, project: Project) -> Iterator[tuple[str, Function]]:
    """All methods of projections but `__init__`, also those that only others call."""
    owners = {role.owner for role in roles(module, project) if role.part in PROJECTING}
    for name, node in module.defined.items():
        owner = f"{module.name}.{name.rpartition('.')[0]}"
        if not isinstance(node, ast.ClassDef) and owner in owners and node.name != "__init__":
            yield name, node


def _kept(node: ast.AST, function: Function, module: Module, project: Project) -> str | None:
    """What a statement changes that is there after the call: `self.seen`, `CACHE`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
        return _outliving(node.func.value, function, module, project)
    elif isinstance(node, ast.Global):
        return node.names[0]
    for target in targets:
        for each in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(each, ast.Subscript):
                found = _outliving(each.value, function, module, project)
            else:
                found = module.source(each) if isinstance(each, ast.Attribute) and _is_me(each, function) else None
            if found is not None:
                return found
    return None


def _outliving(node: ast.expr, function: Function, module: Module, project: Project) -> str | None:
    if isinstance(node, ast.Attribute) and _is_me(node, function):
        return module.source(node)
    if isinstance(node, ast.Name) and node.id in module.constants and not _is_local(node.id, function):
        return node.id if _is_container(module.constants[node.id], module, project) else None
    return None


def _is_me(node: ast.Attribute, function: Function) -> bool:
    arguments = [*function.args.posonlyargs, *function.args.args]
    is_self = bool(arguments) and isinstance(node.value, ast.Name) and node.value.id == arguments[0].arg
    return is_self and not is_static(function)


def _is_local(name: str, function: Function) -> bool:
    arguments = {each.arg for each in ast.walk(function.args) if isinstance(each, ast.arg)}
    return name in arguments or any(
        isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Store)
        for each in ast.walk(function)
    )


def _is_container(node: ast.expr, module: Module, project: Project) -> bool:
    if isinstance(node, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp):
        return True
    if not isinstance(node, ast.Call):
        return False
    is_plain = isinstance(node.func, ast.Name) and not module.binds(node.func.id)
    name = module.source(node.func) if is_plain else project.dotted(node.func, module)
    return name in _CONTAINERS


def _swallows(module: Module, project: Project) -> Iterator[Finding]:
    for name, function in _methods(module, project):
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node.type, module, project):
                if not any(isinstance(each, ast.Raise) for inner in node.body for each in ast.walk(inner)):
                    yield _swallowed(node, name, module)
            elif isinstance(node, ast.withitem) and isinstance(node.context_expr, ast.Call):
                call = node.context_expr
                is_suppress = project.dotted(call.func, module) == "contextlib.suppress"
                if is_suppress and any(_is_broad(each, module, project) for each in call.args):
                    yield _swallowed(call, name, module)


def _swallowed(node: ast.AST, name: str, module: Module) -> Finding:
    place = module.place(node)
    if isinstance(node, ast.ExceptHandler):  # its line, not its body
        end = module.lines[place.line - 1].rstrip()
        place = place._replace(end_line=place.line, end_column=len(end) + 1)
    return Finding(
        "DP209",
        place,
        f"`{name}` swallows every error; an event that was not applied counts as applied",
        "Let it raise: the projection parks that key or stops, and `diptych status` names the event and the error. "
        "Catch only what you expect, by its class.",
        name,
        "hides what went wrong",
    )


def _is_broad(node: ast.expr | None, module: Module, project: Project) -> bool:
    if node is None:
        return True
    if isinstance(node, ast.Tuple):
        return any(_is_broad(each, module, project) for each in node.elts)
    return isinstance(node, ast.Name) and node.id in ("Exception", "BaseException") and not module.binds(node.id)


RULES = (
    Rule(
        "DP207",
        "mutable state in a projection",
        Severity.WARNING,
        "What a projection remembers outside its rows is gone after a restart, is not undone with a batch that failed, "
        "and is another on each worker. The rows that come of it depend on when the process was started.",
        _keeps_state,
    ),
    Rule(
        "DP209",
        "swallowed error in a projection",
        Severity.ERROR,
        "A projection that fails is told of, put aside by key, and tried again. One that swallows its errors has "
        "rows that are wrong for ever, and says that it is caught up.",
        _swallows,
    ),
)
