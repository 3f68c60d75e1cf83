"""DP101 to DP105, DP109: the write side is written, the read side is read, and neither reaches into the other."""

import ast
from collections.abc import Iterator, Mapping
from typing import Final

from diptych.lint.calls import Called, at_call, notes, reached, scope_of
from diptych.lint.findings import Finding, Note, Severity
from diptych.lint.known import short
from diptych.lint.module import Module
from diptych.lint.ours import is_of
from diptych.lint.project import Found, Project
from diptych.lint.roles import PROJECTING, Part, Role, roles
from diptych.lint.rule import Rule
from diptych.lint.scope import Scope, annotated, scope_of_module
from diptych.lint.sql import verb
from diptych.lint.statements import Statement, own_statements, statements
from diptych.lint.tables import EVENT_TABLES, Owned, owned_tables

_READS: Final = ("Repository", "EventStore", "App.events")
_READING: Final = (
    "get",
    "find",
    "get_or_new",
    "read_stream",
    "read_log",
    "read_slices",
    "head",
    "streams_of",
    "find_command",
)
_WRITING: Final = ("append", "add", "record", "dispatch", "execute", "commit")
_WRITERS: Final = (
    "CommandBus",
    "EventStore",
    "Repository",
    "Db",
    "ViewStore",
    "Aggregate",
    "App.events",
    "App.commands",
    "App.views",
)
_ROW_VERBS: Final = ("save", "insert", "update", "delete", "create", "upsert", "merge", "refresh")


def _query_reads_events(module: Module, project: Project) -> Iterator[Finding]:
    owned = owned_tables(project)
    for role in roles(module, project):
        if role.part is not Part.QUERY:
            continue
        for one in statements(role.scope(project), project):
            tables = sorted((one.meaning.reads & EVENT_TABLES) - owned.keys())
            if tables:
                yield _sql("DP101", role, one, f"reads table `{tables[0]}`; queries must use a read model", _USE_ROWS)
        for way in reached(role.scope(project), project, _is_write_model):
            said = f"`{role.name}` calls `{short(way.last.dotted)}`, of the write model; queries must use a read model"
            yield at_call("DP101", role, way, said, _USE_ROWS, "reads the write model")


def _query_writes(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part is not Part.QUERY:
            continue
        hint = "Move it to a command. To count reads, tell a metric."
        for one in statements(role.scope(project), project):
            if one.meaning.writes or one.meaning.attaches:
                yield _sql("DP102", role, one, f"executes {_verb(one)}; queries never change anything", hint)
        for way in reached(role.scope(project), project, _is_write):
            said = f"`{role.name}` calls `{short(way.last.dotted)}`; queries never change anything"
            yield at_call("DP102", role, way, said, hint, "changes something")


def _rows_written(module: Module, project: Project) -> Iterator[Finding]:
    owned = owned_tables(project)
    if not owned:
        return
    parts = {id(role.function): role for role in roles(module, project)}
    seen: set[int] = set()  # inner functions come first: what they do is not said of those around them
    for name, function in reversed(module.defined.items()):
        if not isinstance(function, ast.ClassDef):
            scope = scope_of(Found(module, function, name), function, project)
            yield from _of_function(name, scope, parts.get(id(function)), owned, seen)
    yield from _of_function("<module>", scope_of_module(module, project), None, owned, seen)


def _of_function(
    name: str, scope: Scope, role: Role | None, owned: Mapping[str, Owned], seen: set[int]
) -> Iterator[Finding]:
    is_query = role is not None and role.part is Part.QUERY  # that is DP102, whoever owns the table
    for one in own_statements(scope):
        for table in sorted(one.meaning.writes & owned.keys()) if id(one.node) not in seen and not is_query else ():
            if not _is_by_owner(one, role, owned[table]):
                yield _written(name, one, owned[table])
        seen.add(id(one.node))
    for node in scope.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ROW_VERBS:
            if id(node) not in seen and not is_query:
                yield from _by_verb(name, node, scope, owned)
            seen.add(id(node))


def _is_by_owner(one: Statement, role: Role | None, it: Owned) -> bool:
    """Whether a projection writes its own table, itself or in a function that works for it with its `db`."""
    project = one.scope.project
    if role is not None:
        return it.is_of(role.owner) or (role.part in PROJECTING and not it.owners)
    receiver = (one.receiver or "").rpartition(".")[0]
    if project.is_a(receiver, "Db"):
        return True
    return not receiver and id(one.node) in _written_by_owners(project)


def _written_by_owners(project: Project) -> frozenset[int]:
    """The SQL by which projections write their tables, in functions that they call too."""
    known: frozenset[int] | None = project.memory.get(("tables", "by owners"))
    if known is None:
        owned = owned_tables(project)
        known = project.memory["tables", "by owners"] = frozenset(
            id(one.node)
            for module in project.modules
            for role in roles(module, project)
            if role.part in PROJECTING
            for one in statements(role.scope(project), project)
            if all(owned[table].is_of(role.owner) for table in one.meaning.writes & owned.keys())
        )
    return known


def _by_verb(name: str, node: ast.Call, scope: Scope, owned: Mapping[str, Owned]) -> Iterator[Finding]:
    """`OrderSummary(...).save()`: what the class itself does not define, somebody has put there."""
    assert isinstance(node.func, ast.Attribute)
    project, verb = scope.project, node.func.attr
    model = scope.dotted(node.func.value)
    found = project.find(model) if model is not None and project.is_a(model, "ReadModel") else None
    if found is None or project.find(f"{found.dotted}.{verb}") is not None:
        return
    for it in [each for each in owned.values() if each.model.dotted == found.dotted]:
        message = f"`{name}` writes a row of `{found.name}` by `{verb}`, {_whose(it)}"
        yield Finding("DP103", scope.module.place(node), message, _LET_IT, name, "written by hand", _notes(it))


def _written(name: str, one: Statement, it: Owned) -> Finding:
    message = f"`{name}` writes `{it.table}`, {_whose(it)}"
    return Finding("DP103", one.scope.module.place(one.node), message, _LET_IT, name, _verb(one), _notes(it))


def _command_reads_rows(module: Module, project: Project) -> Iterator[Finding]:
    owned = owned_tables(project)
    for role in roles(module, project):
        if role.part is not Part.COMMAND:
            continue
        for argument in [*role.function.args.args, *role.function.args.kwonlyargs]:
            if project.is_a(annotated(argument.annotation, module, project), "ReadModels"):
                message = f"`{role.name}` decides on read models, which may be behind"
                yield Finding("DP104", module.place(argument), message, _LOAD, role.name, "may be behind")
        for one in statements(role.scope(project), project):
            for table in sorted((one.meaning.reads - one.meaning.writes) & owned.keys()):
                yield _sql(
                    "DP104", role, one, f"decides on `{table}`, which may be behind", _LOAD, _notes(owned[table])
                )


def _command_asks(module: Module, project: Project) -> Iterator[Finding]:
    for role in roles(module, project):
        if role.part is not Part.COMMAND:
            continue
        for way in reached(role.scope(project), project, _is_question):
            said = f"`{role.name}` asks a query while it decides; the answer may be behind"
            yield at_call("DP105", role, way, said, _LOAD, "may be behind")


def _projection_reads_others(module: Module, project: Project) -> Iterator[Finding]:
    owned = owned_tables(project)
    for role in roles(module, project):
        if role.part not in PROJECTING:
            continue
        for one in statements(role.scope(project), project):
            for table in sorted(one.meaning.reads & owned.keys()):
                it = owned[table]
                if it.owner is not None and not it.is_of(role.owner):
                    hint = "Copy the fields that are needed from the events, or make the two one projection."
                    what = f"reads `{table}`, {_whose(it)} and stands at another position"
                    yield _sql("DP109", role, one, what, hint, _notes(it))


def _sql(rule: str, role: Role, one: Statement, what: str, hint: str, more: tuple[Note, ...] = ()) -> Finding:
    """A finding about SQL: at the call that leads there, if another function has it."""
    place, message = one.scope.module.place(one.node), f"`{role.name}` {what}"
    if not one.path:
        return Finding(rule, place, message, hint, role.name, _verb(one), more)
    led = (*notes(one.path, is_all=False), Note(place, "here"), *more)
    return Finding(rule, role.module.place(one.path[0].node), message, hint, role.name, _verb(one), led)


def _is_write_model(call: Called) -> bool:
    return any(is_of(call.dotted, owner, *_READING) for owner in _READS)


def _is_write(call: Called) -> bool:
    return any(is_of(call.dotted, owner, *_WRITING) for owner in _WRITERS)


def _is_question(call: Called) -> bool:
    return any(is_of(call.dotted, owner, "dispatch", "answer") for owner in ("QueryBus", "App.queries"))


def _verb(one: Statement) -> str:
    if one.meaning.attaches:
        return "ATTACH"
    word = verb(one.text) or one.text
    return f"{word} that writes" if one.meaning.writes and word in ("WITH", "SELECT") else word


def _whose(it: Owned) -> str:
    return f"owned by `{it.owner.name}`" if it.owner is not None else "which only a projection writes"


def _notes(it: Owned) -> tuple[Note, ...]:
    owner = it.owner or it.model
    return (Note(owner.module.place(owner.node), "its owner" if it.owner is not None else "the read model"),)


_USE_ROWS: Final = (
    "Read a read model instead (`ReadModels.get`, `find`, `page`, `sql`); let a projection write what is missing there."
)
_LET_IT: Final = (
    "Record an event and let the projection write. To correct rows: an event, or `diptych projection rebuild`."
)
_LOAD: Final = (
    "Load the aggregate: `Repository.get`. For a rule over many, keep an aggregate for the rule. "
    "If a stale answer will do, say so where it is: `# diptych: ignore[DP104] why`"
)

RULES = (
    Rule(
        "DP101",
        "query handler reads the write model",
        Severity.ERROR,
        "Events are stored so that they can be written fast and once, and they are the write side's own. A query that "
        "reads them binds every reader to how they are stored, takes time from writers, and cannot say how old its "
        "answer is. At run time the connection of a query does not see these tables.",
        _query_reads_events,
    ),
    Rule(
        "DP102",
        "query handler performs a write",
        Severity.ERROR,
        "A query may be asked twice, cached, or answered by a replica. What it changes then happens twice, never, or "
        "not there. At run time the connection of a query cannot write.",
        _query_writes,
    ),
    Rule(
        "DP103",
        "read model modified outside its projection",
        Severity.ERROR,
        "Rows are the fold of the log. What somebody else writes into them is in no event: the next rebuild loses it, "
        "and until then nobody can explain the row.",
        _rows_written,
    ),
    Rule(
        "DP104",
        "command handler reads a read model",
        Severity.WARNING,
        "Read models follow the log and may be behind. A decision made on one is made on what was true some time ago: "
        "the last item is sold twice, and no version check sees it.",
        _command_reads_rows,
    ),
    Rule(
        "DP105",
        "command handler calls a query bus",
        Severity.WARNING,
        "A query's answer may be behind the log, so a command that asks one decides on the past, and it couples the "
        "write side to how somebody wants to read.",
        _command_asks,
    ),
    Rule(
        "DP109",
        "projection reads another projection's table",
        Severity.WARNING,
        "Each projection has its own place in the log. Rows of another one are of an earlier or a later time, and "
        "different at each rebuild, so what is made of them cannot be made again.",
        _projection_reads_others,
    ),
)
