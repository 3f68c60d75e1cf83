"""DP107, DP505: what a command does between its load and its commit."""

import ast
from collections.abc import Iterator

from diptych.lint.calls import at_call, calls, reached
from diptych.lint.findings import Finding, Note, Severity
from diptych.lint.known import is_network, spoken
from diptych.lint.module import Module
from diptych.lint.ours import aggregate_of, is_of, records
from diptych.lint.project import Project
from diptych.lint.roles import Part, Role, roles
from diptych.lint.rule import Rule


def _commands(module: Module, project: Project) -> Iterator[Role]:
    return (role for role in roles(module, project) if role.part is Part.COMMAND)


def _changes_two(module: Module, project: Project) -> Iterator[Finding]:
    for role in _commands(module, project):
        changed: dict[str, tuple[ast.Call, str]] = {}
        for call in calls(role.scope(project)):
            kind = records(call.dotted, project)
            if kind is not None and isinstance(call.node.func, ast.Attribute):
                which = _source_of(call.node.func.value, role)
                changed.setdefault(ast.dump(which), (call.node, kind.rpartition(".")[2]))
        if len(changed) > 1:
            (first, one), (second, other) = list(changed.values())[:2]
            what = f"`{one}` twice" if one == other else f"`{one}` and `{other}`"
            yield Finding(
                "DP107",
                module.place(second),
                f"`{role.name}` changes {what} in one commit; it loses a race for each of the two",
                "Change one here, and the other with a command of its own, dispatched when this one has returned. "
                "Where both must hold at once, keep it and say so in an ignore.",
                role.name,
                "another stream",
                (Note(module.place(first), "the first"),),
            )


def _source_of(node: ast.expr, role: Role) -> ast.expr:
    """What an aggregate was loaded by, so that one in two variables is one: follows a name to what made it."""
    if isinstance(node, ast.Await):
        return _source_of(node.value, role)
    if isinstance(node, ast.Name):
        for each in ast.walk(role.function):
            if isinstance(each, ast.Assign) and any(isinstance(t, ast.Name) and t.id == node.id for t in each.targets):
                return each.value.value if isinstance(each.value, ast.Await) else each.value
    return node


def _calls_out(module: Module, project: Project) -> Iterator[Finding]:
    hint = (
        "Call before the command is dispatched and put the answer into the command, or call when `dispatch` has "
        "returned. Then it is called once."
    )
    for role in _commands(module, project):
        scope = role.scope(project)
        loads = [
            call.node
            for call in calls(scope)
            if is_of(call.dotted, "Repository", "get", "get_or_none", "get_or_new") and not call.is_inner
        ]
        if not loads:
            continue
        first = min(loads, key=lambda node: (node.lineno, node.col_offset))
        for way in reached(
            scope,
            project,
            lambda call: is_network(call.dotted),
            is_open=lambda found: aggregate_of(found, project) is None,
        ):
            node = way.path[0].node
            if (node.lineno, node.col_offset) > (first.lineno, first.col_offset):
                message = (
                    f"`{role.name}` calls `{spoken(way.last.dotted)}` between load and commit; a command that loses a "
                    "race runs again, and calls again"
                )
                found = at_call("DP505", role, way, message, hint, "others change it meanwhile")
                yield found._replace(notes=(*found.notes, Note(module.place(first), "loaded here")))


RULES = (
    Rule(
        "DP107",
        "two aggregates changed in one command",
        Severity.WARNING,
        "Diptych commits all that a command did at once, so this is allowed, and sometimes meant. But a command that "
        "changes two streams meets the writers of both, and an aggregate that must change with another is perhaps a "
        "part of it.",
        _changes_two,
        is_default=False,
    ),
    Rule(
        "DP505",
        "external call between load and commit",
        Severity.WARNING,
        "While the handler waits for another machine, somebody else changes what it has loaded. Then it runs again, up "
        "to three times, and calls again each time: three payments, one order.",
        _calls_out,
    ),
)
