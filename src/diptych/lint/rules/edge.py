"""DP108, DP801, DP803: routes send commands and ask queries, and answer when that is done."""

import ast
from collections.abc import Iterator
from typing import Final

from diptych.lint.calls import Called, at_call, reached, scope_of
from diptych.lint.findings import Edit, Finding, Fix, Note, Severity
from diptych.lint.module import Function, Module
from diptych.lint.ours import is_dispatch, is_of
from diptych.lint.project import Found, Project
from diptych.lint.roles import Part, Role, decorators, roles
from diptych.lint.rule import Rule

_POST: Final = "Make it `post`, or ask a query."
_SAFE: Final = ("get", "head", "options")


def _routes(module: Module, project: Project) -> Iterator[Role]:
    return (role for role in roles(module, project) if role.part is Part.ROUTE)


def _bypasses(module: Module, project: Project) -> Iterator[Finding]:
    hint = "Dispatch a command (`commands: Commands`) or ask a query (`queries: Queries`), both from `diptych.web`."
    for role in _routes(module, project):
        for way in reached(role.scope(project), project, _is_direct):
            what = ".".join(way.last.dotted.split(".")[-2:])
            message = f"route `{role.name}` uses the store by `{what}`, past the bus"
            yield at_call("DP108", role, way, message, hint, "no retry, no idempotency, no user")


def _is_direct(call: Called) -> bool:
    return (
        is_of(call.dotted, "App.events")
        or is_of(call.dotted, "App.views")
        or is_of(call.dotted, "Db", "execute", "rows")
        or is_of(call.dotted, "Repository", "get", "get_or_none", "get_or_new", "add")
    )


def _gets_change(module: Module, project: Project) -> Iterator[Finding]:
    for role in _routes(module, project):
        verb = _safe_verb(role.function)
        if verb is None:
            continue
        for way in reached(role.scope(project), project, is_dispatch):
            message = f"{verb.upper()} route `{role.name}` dispatches a command; crawlers and prefetching will call it"
            yield at_call("DP803", role, way, message, _POST, "changes something")
    if project.uses_library(module):
        for name, node in module.defined.items():
            verb = _safe_verb(node) if isinstance(node, ast.ClassDef) and node.decorator_list else None
            if verb is not None and project.is_a(f"{module.name}.{name}", "Command"):
                message = f"command `{name}` is a {verb.upper()} route; crawlers and prefetching will send it"
                yield Finding("DP803", module.place(node), message, _POST, name, "changes something")


def _safe_verb(route: Function | ast.ClassDef) -> str | None:
    """The verb of a route that is only for reading."""
    verbs = [name for name, node in decorators(route) if isinstance(node, ast.Call)]
    known = [name for name in verbs if name in (*_SAFE, "post", "put", "patch", "delete", "api_route", "websocket")]
    return known[0] if len(known) == 1 and known[0] in _SAFE else None


def _commits_late(module: Module, project: Project) -> Iterator[Finding]:
    if not project.uses_library(module):
        return
    for node in module.nodes:
        if not isinstance(node, ast.Call) or not node.args or any(each.arg == "scope" for each in node.keywords):
            continue
        if project.dotted(node.func, module) not in ("fastapi.Depends", "fastapi.params.Depends"):
            continue
        dotted = project.dotted(node.args[0], module)
        found = project.find(dotted) if dotted is not None else None
        late = None if found is None else _after_yield(found, project)
        if found is not None and late is not None:
            place = module.place(node.args[-1] if not node.keywords else node.keywords[-1].value)
            end = place._replace(line=place.end_line, column=place.end_column)
            yield Finding(
                "DP801",
                module.place(node),
                f"`{found.name}` commits after its `yield`: the client has the answer before the commit",
                'Write `Depends(..., scope="function")`, so that it ends before the answer is sent; or commit in the '
                "route.",
                module.name_of(node),
                "ends after the answer",
                (Note(found.module.place(late), "committed here"),),
                Fix("End it before the answer", (Edit(end, ', scope="function"'),), is_safe=True),
            )


def _after_yield(found: Found, project: Project) -> ast.AST | None:
    """What commits in a generator after its yield: a `commit()`, a dispatch, the end of a `begin()` around it."""
    function = found.node
    if isinstance(function, ast.ClassDef):
        return None
    yields = [node for node in ast.walk(function) if isinstance(node, ast.Yield)]
    if len(yields) != 1:
        return None
    scope = scope_of(found, function, project)
    for node in ast.walk(function):
        if isinstance(node, ast.With | ast.AsyncWith):
            is_around = any(each is yields[0] for inner in node.body for each in ast.walk(inner))
            if is_around and any(_is_begin(item.context_expr) for item in node.items):
                return node.items[0].context_expr
        if (
            not isinstance(node, ast.Call)
            or not isinstance(node.func, ast.Attribute)
            or node.lineno <= yields[0].lineno
        ):
            continue
        dotted = scope.dotted(node.func)
        is_sent = dotted is not None and is_dispatch(Called(node, dotted, found.module))
        if is_sent or (node.func.attr == "commit" and not node.args):
            return node
    return None


def _is_begin(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "begin"


RULES = (
    Rule(
        "DP108",
        "endpoint bypasses the bus",
        Severity.WARNING,
        "The bus is what makes a command take effect once, tries again after a lost race, notes who asked, and turns "
        "errors into answers. A route that goes to the store itself has none of it.",
        _bypasses,
    ),
    Rule(
        "DP801",
        "commit after the response",
        Severity.ERROR,
        "What stands after the `yield` of a dependency runs when the answer was sent. If the commit fails then, the "
        "client has its 201 for something that never happened.",
        _commits_late,
        "safe",
    ),
    Rule(
        "DP803",
        "GET route executes a command",
        Severity.ERROR,
        "A GET promises to change nothing: browsers prefetch it, crawlers follow it, proxies repeat it.",
        _gets_change,
    ),
)
