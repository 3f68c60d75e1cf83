"""DP203 to DP206: a projection makes rows of events, causes nothing, and makes the same rows again."""

from collections.abc import Callable, Iterator

from diptych.lint.calls import Called, Reached, at_call, reached
from diptych.lint.findings import Finding, Fix, Severity
from diptych.lint.known import is_changing, is_io, is_now, short, spoken
from diptych.lint.module import Module
from diptych.lint.ours import aggregate_of, is_dispatch, is_of, records
from diptych.lint.project import Project
from diptych.lint.roles import PROJECTING, Role, roles
from diptych.lint.rule import Rule
from diptych.lint.rules.deciding import in_place_of
from diptych.lint.scope import annotated


def _ways(module: Module, project: Project, is_wanted: Callable[[Called], bool]) -> Iterator[tuple[Role, Reached]]:
    for role in roles(module, project):
        if role.part in PROJECTING:
            scope = role.scope(project)
            for way in reached(scope, project, is_wanted, is_open=lambda found: aggregate_of(found, project) is None):
                yield role, way


def _has_effects(module: Module, project: Project) -> Iterator[Finding]:
    hint = (
        "A projection gets events and gives rows. Do this where the command is dispatched, once `dispatch` has "
        "returned; or read what came of it before, and record it in the event."
    )
    for role, way in _ways(module, project, _is_effect):
        message = f"projection `{_owner(role)}` calls `{spoken(way.last.dotted)}`; it would fire again on every rebuild"
        yield at_call("DP203", role, way, message, hint, "happens again with every rebuild")


def _is_effect(call: Called) -> bool:
    """I/O; but what SQL does on a connection of its own is judged by the rules about SQL."""
    return is_io(call.dotted) and not call.dotted.startswith("sqlite3.connect.")


def _dispatches(module: Module, project: Project) -> Iterator[Finding]:
    hint = (
        "Record what follows in the aggregate that decides, or dispatch from the code that dispatched the first "
        "command, with a `command_id` made by `id_for`."
    )
    for role, way in _ways(module, project, is_dispatch):
        command = _command(way, role, project)
        message = f"projection `{_owner(role)}` dispatches {command}; every rebuild would dispatch it again"
        yield at_call("DP204", role, way, message, hint, "a rebuild plays this again")


def _command(way: Reached, role: Role, project: Project) -> str:
    sent = way.last.node.args[0] if way.last.node.args else None
    type = role.scope(project).dotted(sent) if len(way.path) == 1 else None
    return f"`{type.rpartition('.')[2]}`" if type is not None and project.is_a(type, "Command") else "a command"


def _appends(module: Module, project: Project) -> Iterator[Finding]:
    def is_append(call: Called) -> bool:
        is_store = is_of(call.dotted, "App.events", "append") or is_of(call.dotted, "Repository", "add")
        return is_store or records(call.dotted, project) is not None

    hint = "Record the event in the aggregate, in the command that is its cause: it is stored once, in the same commit."
    for role, way in _ways(module, project, is_append):
        message = f"`{role.name}` records an event by `{short(way.last.dotted)}`; a rebuild would record it again"
        yield at_call("DP205", role, way, message, hint, "the log is not the projection's")


def _differs(module: Module, project: Project) -> Iterator[Finding]:
    hint = (
        "Use `meta.recorded_at`, the time that was recorded with the event (`meta: Metadata` is a parameter), or a "
        "value of the event."
    )
    for role, way in _ways(module, project, lambda call: is_changing(call.dotted)):
        message = f"`{spoken(way.last.dotted)}()` in `{role.name}`; rows that are built again would differ"
        yield at_call("DP206", role, way, message, hint, "another value each time")._replace(
            fix=recorded_at(role, way, project)
        )


def recorded_at(role: Role, way: Reached, project: Project) -> Fix | None:
    """Return the fix that takes the event's time in place of now, where the method has its metadata."""
    call = way.path[0]
    if len(way.path) > 1 or not is_now(call.dotted):
        return None
    for argument in role.function.args.args:
        if project.is_a(annotated(argument.annotation, role.module, project), "Metadata"):
            return in_place_of(call, f"{argument.arg}.recorded_at", "Take the time at which the event was recorded")
    return None


def _owner(role: Role) -> str:
    return role.name.rpartition(".")[0].rpartition(".")[2]


RULES = (
    Rule(
        "DP203",
        "side effect in a projection",
        Severity.ERROR,
        "A projection runs again: after a crash, in a rebuild, when its version is raised. Rows come out the same; a "
        "mail or a payment goes out a second time. And while it waits for the network, it falls behind.",
        _has_effects,
    ),
    Rule(
        "DP204",
        "command dispatched from a projection",
        Severity.ERROR,
        "A rebuild plays the whole log to the projection. What it dispatches is dispatched again, years later.",
        _dispatches,
    ),
    Rule(
        "DP205",
        "projection appends events",
        Severity.ERROR,
        "A projection that appends events makes the log depend on its readers: each rebuild makes the log longer, and "
        "the log can no longer say why something happened.",
        _appends,
    ),
    Rule(
        "DP206",
        "non-deterministic projection",
        Severity.ERROR,
        "Rows are the fold of the log: built again, they are the same, byte for byte. A row that holds the time of the "
        "machine, or an id just made, is another one after each rebuild.",
        _differs,
        "safe",
    ),
)
