"""DP310, DP311: a saga says what shall be done next, and does nothing itself."""

from collections.abc import Callable, Iterator

from diptych.lint.calls import Called, Reached, at_call, reached
from diptych.lint.findings import Finding, Severity
from diptych.lint.known import is_changing, is_io, spoken
from diptych.lint.module import Module
from diptych.lint.ours import is_dispatch
from diptych.lint.project import Project
from diptych.lint.roles import Part, Role, roles
from diptych.lint.rule import Rule
from diptych.lint.rules.projecting import recorded_at


def _ways(module: Module, project: Project, is_wanted: Callable[[Called], bool]) -> Iterator[tuple[Role, Reached]]:
    for role in roles(module, project):
        if role.part is Part.FOLLOW:
            for way in reached(role.scope(project), project, is_wanted):
                yield role, way


def _acts(module: Module, project: Project) -> Iterator[Finding]:
    for role, way in _ways(module, project, lambda call: is_io(call.dotted) or is_dispatch(call)):
        is_command = is_dispatch(way.last)
        what = "dispatches a command past its commit" if is_command else f"calls `{spoken(way.last.dotted)}`"
        message = f"`{role.name}` {what}; a saga only says what shall be done"
        yield at_call(
            "DP310", role, way, message, _SAY_IT if is_command else _CALL_IT, "may happen twice, or for nothing"
        )


def _differs(module: Module, project: Project) -> Iterator[Finding]:
    for role, way in _ways(module, project, lambda call: is_changing(call.dotted)):
        message = f"`{spoken(way.last.dotted)}()` in `{role.name}`: when it runs again, it says something else"
        found = at_call("DP311", role, way, message, _TIME_IT, "another value each time")
        yield found._replace(fix=recorded_at(role, way, project))


_SAY_IT = "Write `self.dispatch(command)`: it is stored with the saga's state, and sent once, after the commit."
_CALL_IT = (
    "Make it an async `@step` of a `Steps` saga, which has a key that is the same at each try, or a reaction; or send "
    "a command whose handler calls it."
)
_TIME_IT = (
    "Use `meta.recorded_at` (`meta: Metadata` is a parameter), `self.schedule(..., after=...)`, or a value of the "
    "event. Make an id by `id_for('parcel', str(self.id))`: it is the same whenever it is made."
)

RULES = (
    Rule(
        "DP310",
        "saga acts by itself",
        Severity.ERROR,
        "What a saga asks for is stored with its state, in one commit, and done after it: once, whatever ends in "
        "between. What its method does itself is done before that commit, and done again when the commit fails.",
        _acts,
    ),
    Rule(
        "DP311",
        "clock or chance in a saga",
        Severity.ERROR,
        "A saga's method runs again when its commit fails, or another process takes over. The same event must then say "
        "the same: the time that was recorded with it, and ids made from the saga's own.",
        _differs,
        "safe",
    ),
)
