"""DP507: what a reaction does is done again, under the same key, so the key has to go with it."""

from collections.abc import Iterator

from diptych.lint.calls import Called, at_call, reached
from diptych.lint.findings import Finding, Severity
from diptych.lint.known import is_io, spoken
from diptych.lint.module import Module
from diptych.lint.ours import is_dispatch
from diptych.lint.project import Project
from diptych.lint.roles import Part, Role, roles
from diptych.lint.rule import Rule
from diptych.lint.scope import annotated


def _has_no_key(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part is not Part.REACT:
            continue
        has_key = _takes_key(role, project)

        def is_repeated(call: Called, has_key: bool = has_key) -> bool:
            return _is_without_id(call) or (not has_key and is_io(call.dotted))

        for way in reached(role.scope(project), project, is_repeated):
            is_command = is_dispatch(way.last)
            what = "dispatches a command without `command_id`" if is_command else f"calls `{spoken(way.last.dotted)}`"
            message = f"`{role.name}` {what}; it may happen twice"
            yield at_call(
                "DP507", role, way, message, _ITS_ID if is_command else _ITS_KEY, "no key says it is the same"
            )
            break  # one is enough to tell


def _takes_key(role: Role, project: Project) -> bool:
    arguments = [*role.function.args.args, *role.function.args.kwonlyargs]
    return any(project.is_a(annotated(each.annotation, role.module, project), "IdempotencyKey") for each in arguments)


def _is_without_id(call: Called) -> bool:
    return is_dispatch(call) and all(each.arg not in ("command_id", None) for each in call.node.keywords)


_ITS_ID = "Take `key: IdempotencyKey` as a parameter and dispatch with `command_id=key.id`: then it takes effect once."
_ITS_KEY = (
    "Take `key: IdempotencyKey` as a parameter and give it to whoever is called: it is the same at each try, so that "
    "they can tell a repetition."
)

RULES = (
    Rule(
        "DP507",
        "reaction without its key",
        Severity.WARNING,
        "A reaction is called at least once for each event: again when it failed, and when its process ended before "
        "the outcome was written. Only the key tells the other side that it is the same mail, payment or command.",
        _has_no_key,
    ),
)
