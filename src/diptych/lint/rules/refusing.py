"""DP804: what a handler or an aggregate refuses, a caller is told; an error that is none of a domain is a failure."""

import ast
from collections.abc import Iterator
from typing import Final

from diptych.lint.findings import Finding, Severity
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.roles import BUS, Part, Role, roles
from diptych.lint.rule import Rule

_BUILTIN: Final = frozenset({"Exception", "ValueError", "RuntimeError", "KeyError", "LookupError", "PermissionError"})


def _failures(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part not in (*BUS, Part.DECIDE):
            continue
        for node in ast.walk(role.function):
            if isinstance(node, ast.Raise) and node.exc is not None:
                name = _failure(node.exc, role, project)
                if name is not None:
                    hint = "Raise one of its own: `class NotPossibleError(DomainError)`. The answer is 409 then."
                    message = f"`{role.name}` raises `{name}`, which is no DomainError: over HTTP it is a 500"
                    yield Finding("DP804", module.place(node), message, hint, role.name, "a failure, not a refusal")


def _failure(raised: ast.expr, role: Role, project: Project) -> str | None:
    """The name of what is raised, if it is known to be no error of a domain."""
    target = raised.func if isinstance(raised, ast.Call) else raised
    if isinstance(target, ast.Name) and target.id in _BUILTIN and target.id not in role.module.defined:
        return target.id
    dotted = project.dotted(target, role.module) if isinstance(target, ast.Name | ast.Attribute) else None
    found = project.find(dotted) if dotted is not None else None
    if found is None or not isinstance(found.node, ast.ClassDef):
        return None
    last = [each.rpartition(".")[2] for each in project.ancestors(found.dotted)][-1]
    return found.name if last in _BUILTIN and not project.is_a(found.dotted, "DomainError", "DiptychError") else None


RULES = (
    Rule(
        "DP804",
        "refusal that is no DomainError",
        Severity.WARNING,
        "A business rule that says no is an answer: the caller gets 409 with the sentence. An error of any other "
        "class is a failure of the service: 500, without the sentence, and an alarm for somebody who can do nothing "
        "about it.",
        _failures,
        is_default=False,
    ),
)
