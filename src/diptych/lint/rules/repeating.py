"""DP201, DP202: what a projection writes may be written twice, and must be the same then."""

import ast
from collections.abc import Iterator
from typing import Final

from diptych.lint.findings import Edit, Finding, Fix, Note, Place, Severity
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.roles import PROJECTING, roles
from diptych.lint.rule import Rule
from diptych.lint.sql import Statement, statements
from diptych.lint.tables import Owned, owned_tables

_DB: Final = "Db"


def _plain_inserts(module: Module, project: Project) -> Iterator[Finding]:
    owned = owned_tables(project)
    for role in roles(module, project):
        if role.part not in PROJECTING:
            continue
        for one in statements(role.scope(project), project):
            for table in sorted(one.meaning.plain_inserts):
                message = (
                    f"`{role.name}` inserts into `{table}` without ON CONFLICT; delivered again, it fails or doubles"
                )
                hint = "INSERT ... ON CONFLICT (key) DO UPDATE SET ..., or return the row from an @on method."
                at, notes = _where(one, module)
                fix = _with_conflict(one, owned.get(table)) if not one.path else None
                yield Finding("DP201", at, message, hint, role.name, "not twice", notes, fix)


def _relative_updates(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part not in PROJECTING:
            continue
        for one in statements(role.scope(project), project):
            if _is_ours(one, project) or one.meaning.has_guard:
                continue
            for table, column in one.meaning.relative:
                message = (
                    f"`{role.name}` adds to `{table}.{column}` beside the checkpoint's transaction; it may count twice"
                )
                hint = (
                    "Write it with the `db` of `handle`, whose transaction carries the checkpoint, or return the row."
                )
                at, notes = _where(one, module)
                yield Finding("DP202", at, message, hint, role.name, "counts each delivery", notes)


def _is_ours(one: Statement, project: Project) -> bool:
    """Whether it goes to a projection's `db`: its transaction moves the checkpoint, so it takes effect once."""
    receiver = one.receiver
    return receiver is not None and project.is_a(receiver.rpartition(".")[0], _DB)


def _where(one: Statement, module: Module) -> tuple[Place, tuple[Note, ...]]:
    place = one.scope.module.place(one.node)
    if not one.path:
        return place, ()
    return module.place(one.path[0].node), (Note(place, "here"),)


def _with_conflict(one: Statement, it: Owned | None) -> Fix | None:
    """Add the clause, where the text is one constant in one line and its columns are named."""
    node = one.node
    if it is None or not isinstance(node, ast.Constant) or node.lineno != node.end_lineno or "(" not in one.text:
        return None
    keys = _keys(it)
    columns = [each.strip() for each in one.text.partition("(")[2].partition(")")[0].split(",")]
    others = [each for each in columns if each not in keys]
    if not keys or not set(keys) <= set(columns):
        return None
    sets = ", ".join(f"{each} = excluded.{each}" for each in others)
    clause = f" ON CONFLICT ({', '.join(keys)}) DO {f'UPDATE SET {sets}' if others else 'NOTHING'}"
    place = one.scope.module.place(node)
    end = place._replace(line=place.end_line, column=place.end_column - 1, end_column=place.end_column - 1)
    return Fix("Let the last one win", (Edit(end, clause),))


def _keys(it: Owned) -> list[str]:
    """The fields of a read model that are annotated with `Key`."""
    body = it.model.node.body
    return [
        node.target.id
        for node in body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and "Key" in ast.unparse(node.annotation)
    ]


RULES = (
    Rule(
        "DP201",
        "plain INSERT in a projection",
        Severity.ERROR,
        "A projection sees an event again after a crash, and all of them in a rebuild. An INSERT without ON CONFLICT "
        "then fails, and the projection stands, or it makes a second row. At run time it is refused.",
        _plain_inserts,
        "unsafe",
    ),
    Rule(
        "DP202",
        "relative update outside the checkpoint's transaction",
        Severity.WARNING,
        "`total = total + 1` counts an event each time that it is delivered. With the `db` of `handle` that is once, "
        "for its transaction moves the checkpoint too; through any other connection it is as often as the process was "
        "killed at the wrong moment.",
        _relative_updates,
    ),
)
