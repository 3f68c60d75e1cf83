"""DP905: SQL of which the source does not say what it does."""

from collections.abc import Iterator

from diptych.lint.findings import Finding, Severity
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.roles import PROJECTING, Part, roles
from diptych.lint.rule import Rule
from diptych.lint.statements import not_understood


def _unread(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part in (Part.QUERY, Part.COMMAND, *PROJECTING):
            for node in not_understood(role.scope(project)):
                message = f"`{role.name}` runs SQL that is made at run time or not understood; it is not checked"
                hint = "Name the tables in a constant. The databases refuse at run time what is not seen here."
                yield Finding("DP905", module.place(node), message, hint, role.name, "not checked")


RULES = (
    Rule(
        "DP905",
        "SQL not understood",
        Severity.INFO,
        "The rules of reading and writing know a statement by its text. Where its tables are put in while it runs, or "
        "it is of no dialect that we know, they are silent, and silence looks like praise. This rule tells where.",
        _unread,
        is_default=False,
    ),
)
