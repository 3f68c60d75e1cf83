"""The SQL that a function runs: itself, in functions that it calls, and in those that it has called in a thread.

Rule: a text is SQL only where it is given to something that runs SQL. What people read, "Delete from basket", is not.
"""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from diptych.lint.calls import DEPTH, Called, calls, scope_of
from diptych.lint.mapped import mapped_statements, mapped_tables
from diptych.lint.module import Function
from diptych.lint.project import Project
from diptych.lint.scope import Scope
from diptych.lint.sql import Meaning, is_available, parsed, together, verb
from diptych.lint.tables import attached_names
from diptych.lint.texts import is_wrapper, texts

_RUNS: Final = re.compile(
    r"execute\w*|exec|exec_driver_sql|fetch|fetch_?(row|rows|val|one|all|many)|scalars?|stream|stream_scalars|iterate"
    r"|cursor|prepare|sql|rows|raw|query|read_sql|read_sql_query"
)
_MAY_RUN: Final = re.compile(
    rf"\b({_RUNS.pattern}|text|SQL|sqlalchemy)\(|\b(?i:select|insert|update|delete|merge|replace|drop)\s"
)
_RUNNERS: Final = (
    "to_thread", "run_in_executor", "submit", "Thread", "Timer", "Process", "run_sync", "run_in_threadpool",
    "create_task", "add_task", "call_soon", "call_later", "partial", "map", "apply_async",
)  # fmt: skip
_FOREIGN: Final = frozenset(
    {
        "MySQLdb", "aiomysql", "asyncmy", "clickhouse_connect", "clickhouse_driver", "databricks", "duckdb", "google",
        "mysql", "oracledb", "pymssql", "pymysql", "pyspark", "redshift_connector", "snowflake", "trino",
    }
)  # fmt: skip
"""Libraries of databases that cannot be a store of ours: tables of the same name are others."""

_MAYBE_OURS: Final = ("aiosqlite", "apsw", "asyncpg", "databases", "psycopg", "psycopg2", "sqlalchemy", "sqlite3")
DATABASES: Final = _FOREIGN.union(_MAYBE_OURS)
"""Libraries of databases. What is written through them is in no transaction of ours."""


class Statement(NamedTuple):
    """SQL in a function, or in one that it calls: then `path` are the calls that lead there."""

    node: ast.expr
    call: ast.Call  # what it is given to
    text: str
    meaning: Meaning
    scope: Scope  # of the function that it stands in
    path: tuple[Called, ...] = ()

    @property
    def receiver(self) -> str | None:
        """What the text is given to, by dotted name: `diptych.Db.execute`."""
        return self.scope.dotted(self.call.func)


def statements(scope: Scope, project: Project) -> Sequence[Statement]:
    """Return the SQL of a function and of those that it calls, or has called in a thread or a task, each once."""
    known: Sequence[Statement] | None = project.memory.get(("statements", scope.function))
    if known is None:
        found = _through(scope, project, DEPTH, (), frozenset({id(scope.function)}))
        known = project.memory["statements", scope.function] = tuple({id(one.node): one for one in found}.values())
    return known


def own_statements(scope: Scope) -> Sequence[Statement]:
    """Return the SQL that a function gives to what runs it."""
    known: Sequence[Statement] | None = scope.project.memory.get(("sql", scope.function))
    if known is None:
        known = scope.project.memory["sql", scope.function] = tuple(_own_statements(scope)) if _may_run(scope) else ()
    return known


def _may_run(scope: Scope) -> bool:
    """Whether it is worth a look at the functions of a module."""
    known: bool | None = scope.project.memory.get(("may run", scope.module))
    if known is None:
        is_worth = bool(mapped_tables(scope.project)) or _MAY_RUN.search(scope.module.text) is not None
        known = scope.project.memory["may run", scope.module] = is_available() and is_worth
    return known


def _through(
    scope: Scope, project: Project, depth: int, path: tuple[Called, ...], seen: frozenset[int]
) -> list[Statement]:
    """Those of a function last, so that what is at hand stands for what is far."""
    found: list[Statement] = []
    for call in calls(scope) if depth else ():
        for dotted in (call.dotted, *_handed_over(call, scope)):
            inner = project.find(dotted)
            if inner is None or isinstance(inner.node, ast.ClassDef) or id(inner.node) in seen:
                continue
            step = call._replace(dotted=dotted)
            within = scope_of(inner, inner.node, project)
            found = _through(within, project, depth - 1, (*path, step), seen | {id(inner.node)}) + found
    return found + [one._replace(path=path) for one in own_statements(scope)]


def _handed_over(call: Called, scope: Scope) -> Iterator[str]:
    """Functions that a call is given to run elsewhere: `asyncio.to_thread(save, order)`."""
    if call.dotted.rpartition(".")[2] in _RUNNERS:
        for argument in [*call.node.args, *(each.value for each in call.node.keywords)]:
            dotted = scope.dotted(argument) if isinstance(argument, ast.Name | ast.Attribute) else None
            if dotted is not None:
                yield dotted


def _own_statements(scope: Scope) -> Iterator[Statement]:
    for call in scope.nodes:
        if isinstance(call, ast.Call):
            for node in _run_by(call, scope, lambda each: any(map(verb, texts(each, scope)))):
                found = [(text, meaning) for text in texts(node, scope) if verb(text) and (meaning := parsed(text))]
                if found:
                    meaning = _settled(together([each for _, each in found]), call, scope)
                    yield Statement(node, call, found[0][0], meaning, scope)
    for call, text, meaning in mapped_statements(scope):
        yield Statement(call, call, text, meaning, scope)


def _run_by(call: ast.Call, scope: Scope, is_wanted: Callable[[ast.expr], bool]) -> Iterator[ast.expr]:
    """The arguments of a call that are run as SQL: of what runs it by its name, and of functions that pass it on."""
    if is_wrapper(call):
        yield call.args[0]
        return
    runs = _RUNS.fullmatch(_name(call)) is not None
    for node in [*call.args, *(each.value for each in call.keywords)]:
        is_text = not isinstance(node, ast.Starred) and not is_wrapper(node) and is_wanted(node)
        if is_text and (runs or _passes_on(call, node, scope)):
            yield node


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _passes_on(call: ast.Call, node: ast.expr, scope: Scope) -> bool:
    """Whether a function of the project gives this argument to what runs SQL."""
    found = scope.project.find(scope.dotted(call.func) or "")
    if found is None or isinstance(found.node, ast.ClassDef):
        return False
    taken = found.node.args
    names = [each.arg for each in [*taken.posonlyargs, *taken.args]]
    if names[:1] in (["self"], ["cls"]):
        del names[0]
    by_name = next((each.arg for each in call.keywords if each.value is node), None)
    at = call.args.index(node) if node in call.args else len(names)
    parameter = by_name or (names[at] if at < len(names) else None)
    return parameter in _run_parameters(found.node, scope_of(found, found.node, scope.project))


def _run_parameters(function: Function, scope: Scope) -> frozenset[str]:
    """The parameters of a function that are run as SQL, as they are."""
    memory = scope.project.memory
    known: frozenset[str] | None = memory.get(("run", function))
    if known is None:
        memory["run", function] = frozenset()  # for functions that call each other
        taken = function.args
        names = {each.arg for each in [*taken.posonlyargs, *taken.args, *taken.kwonlyargs]}
        calls = [node for node in scope.nodes if isinstance(node, ast.Call)]
        run = (
            node
            for call in calls
            for node in _run_by(call, scope, lambda each: isinstance(each, ast.Name) and each.id in names)
        )
        known = memory["run", function] = frozenset(node.id for node in run if isinstance(node, ast.Name))
    return known


def _settled(meaning: Meaning, call: ast.Call, scope: Scope) -> Meaning:
    """Name the tables as they are for us: those of foreign databases, and of schemas that are none of ours, are others.

    A schema is ours if the project attaches a file by that name.
    """
    root = (scope.dotted(call.func) or "").partition(".")[0]
    attached = attached_names(scope.project)

    def name(table: str) -> str:
        schema, _, bare = table.rpartition(".")
        if root in _FOREIGN:
            return f"{root}.{bare}"
        return bare if not schema or schema in attached else table

    return meaning.renamed(name)


def not_understood(scope: Scope) -> Iterator[ast.expr]:
    """Yield what a function gives to `Db` or to `ReadModels.sql` as SQL, and nobody can read before it runs."""
    known = {id(one.node): one for one in own_statements(scope)}
    for call in scope.nodes if _may_run(scope) else ():
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            owner = (scope.dotted(call.func) or "").rpartition(".")[0]
            at = {"execute": ("Db", 0), "rows": ("Db", 0), "sql": ("ReadModels", 1)}.get(call.func.attr)
            if at is not None and scope.project.is_a(owner, at[0]) and len(call.args) > at[1]:
                node = call.args[at[1]]
                if id(node) not in known or known[id(node)].meaning.is_open:
                    yield node
