"""DP306: an event that an aggregate records and does not take."""

import ast
from collections import defaultdict
from collections.abc import Iterator

from diptych.lint.calls import calls
from diptych.lint.findings import Finding, Severity
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.roles import Part, roles
from diptych.lint.rule import Rule


def _untaken(module: Module, project: Project) -> Iterator[Finding]:
    taken: defaultdict[str | None, set[str | None]] = defaultdict(set)
    found = list(roles(module, project))
    for role in found:
        if role.part is Part.APPLY:
            taken[role.owner].add(role.message)
    for role in found:
        if role.part is not Part.DECIDE:
            continue
        scope = role.scope(project)
        for call in calls(scope):
            if call.dotted.rpartition(".")[2] != "record" or not call.node.args:
                continue
            event = scope.dotted(call.node.args[0]) if isinstance(call.node.args[0], ast.Call) else None
            inherits = len(list(project.ancestors(role.owner or ""))) > 2  # a base class may take it
            is_open = None in taken[role.owner]  # a method that takes several, or what is not known
            if inherits or is_open or event in taken[role.owner] or _is_inert(event, project):
                continue
            if project.is_a(event, "DomainEvent"):
                name = str(event).rpartition(".")[2]
                message = f"`{role.name}` records `{name}`, and no @on method of the aggregate takes it"
                hint = f"Write `@on def _{name.lower()}(self, event: {name})` if a later decision depends on it; "
                hint += f"if it is only history, say so: `class {name}(DomainEvent, inert=True)`."
                yield Finding("DP306", module.place(call.node), message, hint, role.name, "changes nothing here")


def _is_inert(event: str | None, project: Project) -> bool:
    """Whether its class says that it is only history; of one that is not found, nobody knows."""
    found = project.find(event) if event is not None else None
    if found is None or not isinstance(found.node, ast.ClassDef):
        return True
    return any(keyword.arg == "inert" for keyword in found.node.keywords)


RULES = (
    Rule(
        "DP306",
        "event recorded and not taken",
        Severity.WARNING,
        "An aggregate decides on its own state, and an event without an @on method changes none. That is right for "
        "what is only history, so the rule is off unless selected; where it was forgotten, the next decision is made "
        "on the past.",
        _untaken,
        is_default=False,
    ),
)
