"""DP201, DP202: what a projection writes may be written twice, and must be the same then."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from diptych.lint.findings import Edit, Finding, Fix, Note, Place, Severity
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.roles import PROJECTING, roles
from diptych.lint.rule import Rule
from diptych.lint.sql import parsed
from diptych.lint.statements import DATABASES, Statement, statements
from diptych.lint.tables import Owned, owned_tables
from diptych.lint.texts import constant_of

_DB: Final = "Db"
_VALUES: Final = re.compile(r"\s*INSERT\s+INTO\s+\w+\s*\(([\w\s,]+)\)\s*VALUES\s*\([^;]*\)\s*", re.IGNORECASE)


def _plain_inserts(module: Module, project: Project) -> Iterator[Finding]:
    owned = owned_tables(project)
    for role in roles(module, project):
        if role.part not in PROJECTING:
            continue
        for one in statements(role.scope(project), project):
            if one.meaning.is_or_else and not _is_ours(one, project):
                continue
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
            if not _is_beside(one) or one.meaning.has_guard:
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


def _is_beside(one: Statement) -> bool:
    """Whether it goes through a connection of its own: `sqlite3.connect("totals.db")`. An unknown one may be ours."""
    return (one.receiver or "").partition(".")[0] in DATABASES


def _where(one: Statement, module: Module) -> tuple[Place, tuple[Note, ...]]:
    place = one.scope.module.place(one.node)
    if not one.path:
        return place, ()
    return module.place(one.path[0].node), (Note(place, "here"),)


def _with_conflict(one: Statement, it: Owned | None) -> Fix | None:
    """Add the clause, where the text is one constant that names its columns."""
    node = constant_of(one.node, one.scope)
    said = _VALUES.fullmatch(one.text)
    if it is None or node is None or said is None or one.text != node.value:
        return None
    keys = _keys(it)
    columns = [each.strip() for each in said.group(1).split(",")]
    others = [each for each in columns if each not in keys]
    if not keys or not set(keys) <= set(columns):
        return None
    sets = ", ".join(f"{each} = excluded.{each}" for each in others)
    clause = f" ON CONFLICT ({', '.join(keys)}) DO {f'UPDATE SET {sets}' if others else 'NOTHING'}"
    meaning = parsed(one.text + clause)
    if meaning is None or meaning.plain_inserts:
        return None
    place = one.scope.module.place(node)
    quotes = 3 if one.scope.module.source(node).endswith(('"""', "'''")) else 1
    at = place.end_column - quotes
    return Fix(
        "Let the last one win",
        (Edit(place._replace(line=place.end_line, column=at, end_column=at), clause),),
        is_safe=False,
    )


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
