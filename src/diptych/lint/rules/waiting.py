"""DP501, DP502, DP504: what an async handler waits for, what it must not hold up, and what it must not leave behind."""

import ast
from collections.abc import Iterator
from typing import Final

from diptych.lint.calls import Called, at_call, calls, reached
from diptych.lint.findings import Edit, Finding, Fix, Severity
from diptych.lint.known import is_blocking, spoken
from diptych.lint.module import Function, Module
from diptych.lint.ours import aggregate_of, is_coroutine, is_dispatch
from diptych.lint.project import Project
from diptych.lint.roles import BUS, Part, Role, roles
from diptych.lint.rule import Rule
from diptych.lint.scope import scope_for

_WAITING: Final = (*BUS, Part.ROUTE, Part.PROJECT_SQL)
_NAMES: Final = (
    "dispatch",
    "answer",
    "get",
    "get_or_none",
    "get_or_new",
    "one",
    "find",
    "execute",
    "rows",
    "caught_up",
)
_TASKS: Final = (
    "asyncio.create_task", "asyncio.ensure_future", "asyncio.get_running_loop.create_task",
    "asyncio.get_event_loop.create_task",
)  # fmt: skip


def _async_roles(module: Module, project: Project) -> Iterator[Role]:
    for role in roles(module, project):
        if role.part in _WAITING and isinstance(role.function, ast.AsyncFunctionDef):
            yield role


def _blocks(module: Module, project: Project) -> Iterator[Finding]:
    for role in _async_roles(module, project):
        is_sql = role.part is Part.PROJECT_SQL  # there, I/O of any kind is DP203

        def is_wanted(call: Called, is_sql: bool = is_sql) -> bool:
            return not call.is_inner and is_blocking(call.dotted) and not (is_sql and call.dotted != "time.sleep")

        ways = reached(
            role.scope(project), project, is_wanted, is_open=lambda found: aggregate_of(found, project) is None
        )
        for way in ways:
            if any(call.is_inner for call in way.path):
                continue
            name = spoken(way.last.dotted)
            message = f"`{name}` in async `{role.name}` holds up every request of this process"
            found = at_call("DP501", role, way, message, _instead(way.last.dotted), "everybody waits")
            yield found._replace(fix=_sleep(way.path[0], module) if len(way.path) == 1 else None)


def _instead(dotted: str) -> str:
    if dotted == "time.sleep":
        return "Write `await asyncio.sleep(...)`."
    if dotted.startswith(("httpx.", "requests.", "urllib")):
        return "Use `httpx.AsyncClient` and await it, or `await asyncio.to_thread(...)`."
    return "Write `await asyncio.to_thread(...)`, or use a library that awaits."


def _sleep(call: Called, module: Module) -> Fix | None:
    if call.dotted != "time.sleep":
        return None
    name = next((name for name, dotted in module.imports.items() if dotted == "asyncio"), None)
    edit = Edit(module.place(call.node.func), f"await {name or 'asyncio'}.sleep")
    return Fix("Sleep without holding up others", (edit,), is_safe=True, imports=() if name else (("asyncio", ""),))


def _forgets(module: Module, project: Project) -> Iterator[Finding]:
    hint = "Await it here. What must happen after the answer belongs into an event, and into what reads events."
    for role in _async_roles(module, project):
        for call in calls(role.scope(project)):
            if call.dotted in _TASKS and not call.is_inner and _is_left(call.node, role.function, module):
                message = f"the task that `{role.name}` starts is nobody's: a crash loses it, and its error is not seen"
                place = module.place(call.node)
                yield Finding("DP502", place, message, hint, role.name, "nobody waits for it")


def _is_left(node: ast.Call, function: Function, module: Module) -> bool:
    """Whether a task is neither awaited nor given to anybody who might."""
    around = module.parents.get(node)
    if isinstance(around, ast.Expr):
        return True
    if not isinstance(around, ast.Assign) or len(around.targets) != 1 or not isinstance(around.targets[0], ast.Name):
        return False
    name = around.targets[0].id
    uses = [
        each
        for each in ast.walk(function)
        if isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Load)
    ]
    return all(_only_keeps(each, module) for each in uses)


def _only_keeps(node: ast.Name, module: Module) -> bool:
    """`tasks.add(task)` and `task.add_done_callback(...)` keep a task alive, and wait for nothing."""
    around = module.parents.get(node)
    if isinstance(around, ast.Attribute):
        return around.attr == "add_done_callback"
    return isinstance(around, ast.Call) and isinstance(around.func, ast.Attribute) and around.func.attr == "add"


def _is_not_awaited(module: Module, project: Project) -> Iterator[Finding]:
    if not project.uses_library(module):
        return
    for node in module.nodes:
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
            continue
        call = node.value
        function = _function(node, module)
        if function is None or not isinstance(call.func, ast.Attribute) or call.func.attr not in _NAMES:
            continue
        dotted = scope_for(function, module, project).dotted(call.func)
        if dotted is not None and is_coroutine(dotted):
            what = module.source(call.func)
            lost = "the command does not run" if is_dispatch(Called(call, dotted, module)) else "nothing happens"
            yield Finding(
                "DP504",
                module.place(call),
                f"`{what}(...)` is never awaited: {lost}",
                f"Write `await {what}(...)`.",
                module.name_of(node),
                "a coroutine that nobody awaits",
                fix=_await(call, function, module),
            )


def _await(call: ast.Call, function: Function, module: Module) -> Fix | None:
    if not isinstance(function, ast.AsyncFunctionDef):
        return None
    place = module.place(call)
    return Fix(
        "Await it", (Edit(place._replace(end_line=place.line, end_column=place.column), "await "),), is_safe=True
    )


def _function(node: ast.AST, module: Module) -> Function | None:
    at = module.parents.get(node)
    while at is not None and not isinstance(at, ast.FunctionDef | ast.AsyncFunctionDef):
        at = module.parents.get(at)
    return at


RULES = (
    Rule(
        "DP501",
        "blocking call in an async handler",
        Severity.ERROR,
        "One thread serves all requests of a process. While a handler blocks it, no other request, no projection and "
        "no heartbeat moves; a lease may be lost meanwhile.",
        _blocks,
        "safe",
    ),
    Rule(
        "DP502",
        "task that nobody waits for",
        Severity.WARNING,
        "A task that is started and left may be lost by the next deploy, by a crash, and even by the garbage "
        "collector; and its error is seen by nobody. The caller was told that all is well.",
        _forgets,
    ),
    Rule(
        "DP504",
        "forgotten await on dispatch",
        Severity.ERROR,
        "A coroutine that is not awaited does nothing. The route answers 204, and the command never ran.",
        _is_not_awaited,
        "safe",
    ),
)
