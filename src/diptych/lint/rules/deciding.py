"""DP106, DP301, DP302, DP305, DP307: an aggregate decides on its own state and what it is told, and on nothing else."""

import ast
from collections.abc import Callable, Iterator

from diptych.lint.calls import Called, Reached, at_call, reached
from diptych.lint.findings import Edit, Finding, Fix, Severity
from diptych.lint.known import is_changing, is_io, is_new_id, is_now, short, spoken
from diptych.lint.module import Module
from diptych.lint.ours import aggregate_of, is_of, records
from diptych.lint.project import Found, Project
from diptych.lint.roles import AGGREGATE, Part, Role, roles
from diptych.lint.rule import Rule
from diptych.lint.scope import annotated


def _ways(role: Role, project: Project, is_wanted: Callable[[str], bool]) -> Iterator[Reached]:
    """The calls of a method; not those of other methods of aggregates, which answer for themselves."""

    def is_open(found: Found) -> bool:
        return aggregate_of(found, project) is None

    yield from reached(role.scope(project), project, lambda call: is_wanted(call.dotted), is_open=is_open)


def _aggregates(module: Module, project: Project) -> Iterator[Role]:
    return (role for role in roles(module, project) if role.part in AGGREGATE)


def _reaches(module: Module, project: Project) -> Iterator[Finding]:
    hint = "Let the command handler load both and pass what is needed, or put it into the command."
    for role in _aggregates(module, project):

        def is_other(dotted: str, mine: str | None = role.owner) -> bool:
            other = records(dotted, project)
            is_same = other is None or other == mine or _are_related(mine, other, project)
            return not is_same or is_of(dotted, "Repository", "get", "get_or_none", "get_or_new", "add")

        for way in _ways(role, project, is_other):
            other = records(way.last.dotted, project)
            what = f"changes another aggregate by `{short(way.last.dotted)}`" if other else "loads another aggregate"
            yield at_call("DP106", role, way, f"`{role.name}` {what}", hint, "beyond its boundary")


def _are_related(mine: str | None, other: str, project: Project) -> bool:
    return mine is not None and (other in project.ancestors(mine) or mine in project.ancestors(other))


def _does_io(module: Module, project: Project) -> Iterator[Finding]:
    hint = "Fetch it before the command is dispatched, or in its handler, and pass the result as an argument."
    for role in _aggregates(module, project):
        for way in _ways(role, project, is_io):
            message = f"`{role.name}` calls `{spoken(way.last.dotted)}`; an aggregate does no I/O"
            yield at_call("DP301", role, way, message, hint, "reaches out of the process")


def _applies_anew(module: Module, project: Project) -> Iterator[Finding]:
    hint = "Make it where the event is recorded, store it in the event, and take it from there."
    for role in _aggregates(module, project):
        if role.part is not Part.APPLY:
            continue
        for way in _ways(role, project, is_changing):
            message = f"`{spoken(way.last.dotted)}()` in `{role.name}`: every load gives another value"
            yield at_call("DP302", role, way, message, hint, "differs with every load")


def _is_async(module: Module, project: Project) -> Iterator[Finding]:
    for role in _aggregates(module, project):
        if isinstance(role.function, ast.AsyncFunctionDef):
            yield Finding(
                "DP305",
                module.place(role.function),
                f"`{role.name}` is async; while an aggregate waits, others change what it decides on",
                "Write `def`. Await in the command handler, and pass the result as an argument.",
                role.name,
                "there is nothing to wait for in here",
            )


def _reads_clock(module: Module, project: Project) -> Iterator[Finding]:
    for role in _aggregates(module, project):
        if role.part is not Part.DECIDE:
            continue
        for way in _ways(role, project, lambda dotted: is_changing(dotted) and not is_new_id(dotted)):
            message = f"`{spoken(way.last.dotted)}()` in `{role.name}`: no test can say what it decides"
            found = at_call("DP307", role, way, message, _PASS_IT, "another value each time")
            yield found._replace(fix=_clock(role, way, project))


def _clock(role: Role, way: Reached, project: Project) -> Fix | None:
    """The command's time or the clock, where the method has one of them."""
    call = way.path[0]
    if len(way.path) > 1 or not is_now(call.dotted):
        return None
    for argument in [*role.function.args.args, *role.function.args.kwonlyargs]:
        type = annotated(argument.annotation, role.module, project)
        if project.is_a(type, "Clock", "FixedClock"):
            return in_place_of(call, f"{argument.arg}.now()", f"Ask `{argument.arg}`")
        if project.is_a(type, "Command"):
            return in_place_of(call, f"{argument.arg}.timestamp", "Take the time of the command")
    return None


def in_place_of(call: Called, text: str, title: str) -> Fix:
    """Return the fix that puts another time, which is aware, in place of now: safe where now was aware, too."""
    is_aware = bool(call.node.args or call.node.keywords)
    return Fix(title, (Edit(call.module.place(call.node), text),), is_safe=is_aware)


_PASS_IT = (
    "Pass it: the handler knows `command.timestamp`, may ask for a `Clock` as a parameter, and makes ids by `new_id()`."
)

RULES = (
    Rule(
        "DP106",
        "aggregate reaches another aggregate",
        Severity.ERROR,
        "An aggregate is the border of one decision: what it reads and changes is guarded by its own version. What it "
        "reaches beyond, nobody guards, and its tests need a store.",
        _reaches,
    ),
    Rule(
        "DP301",
        "I/O in an aggregate",
        Severity.ERROR,
        "A command that loses a race decides again, up to three times, so what the aggregate calls is called again. "
        "And a decision that depends on the outside cannot be explained by the log.",
        _does_io,
    ),
    Rule(
        "DP302",
        "non-deterministic apply",
        Severity.ERROR,
        "An @on method is played again each time the aggregate is loaded. If it asks the clock, or makes an id, the "
        "same events give another state each time, and commands decide on values that nobody stored.",
        _applies_anew,
    ),
    Rule(
        "DP305",
        "async aggregate method",
        Severity.WARNING,
        "A method that awaits invites I/O, and lets other tasks run between the look at the state and the decision.",
        _is_async,
    ),
    Rule(
        "DP307",
        "direct clock or chance in a decision",
        Severity.WARNING,
        "A decision that asks the machine's clock can only be tested at the time it is, and gives another event when "
        "the command is tried again. A value that is passed in is exact in tests and the same in every try.",
        _reads_clock,
        "safe",
    ),
)
