"""DP415: an upcaster is a function of the old payload, and of nothing else."""

from collections.abc import Iterator

from diptych.lint.calls import Called, at_call, reached
from diptych.lint.findings import Finding, Severity
from diptych.lint.known import is_changing, is_io, spoken
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.roles import Part, roles
from diptych.lint.rule import Rule


def _differs(module: Module, project: Project) -> Iterator[Finding]:
    hint = "Use a constant, or a value of the old payload."
    for role in roles(module, project):
        if role.part is Part.UPCAST:
            for way in reached(role.scope(project), project, _is_outside):
                name = spoken(way.last.dotted)
                message = f"upcaster `{role.name}` calls `{name}`: old events would be others with every read"
                yield at_call("DP415", role, way, message, hint, "not from the payload")


def _is_outside(call: Called) -> bool:
    return is_io(call.dotted) or is_changing(call.dotted)


RULES = (
    Rule(
        "DP415",
        "upcaster that looks outside",
        Severity.ERROR,
        "An upcaster runs each time an old event is read: at each load, at each rebuild. If it asks the clock or a "
        "server, the past is another one each time, and cannot be read when the server is away.",
        _differs,
    ),
)
