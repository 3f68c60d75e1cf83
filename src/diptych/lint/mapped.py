"""Tables by the classes that stand for them: of SQLAlchemy and SQLModel, of Django, Tortoise and Peewee.

Rule: a class stands for a table only where its body names the table.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from diptych.lint.project import Found, Project
from diptych.lint.scope import Scope
from diptych.lint.sql import Meaning

_META: Final = ("db_table", "table", "table_name")
_BUILDERS: Final = {"insert": "INSERT", "update": "UPDATE", "delete": "DELETE", "select": "SELECT"}
_OF_SESSION: Final = {
    "add": "INSERT", "add_all": "INSERT", "bulk_save_objects": "INSERT", "merge": "UPDATE", "delete": "DELETE",
    "get": "SELECT", "get_one": "SELECT", "query": "SELECT",
}  # fmt: skip
_OF_MODEL: Final = {
    "save": "UPDATE", "insert": "INSERT", "create": "INSERT", "bulk_create": "INSERT", "insert_many": "INSERT",
    "get_or_create": "INSERT", "update_or_create": "INSERT", "update": "UPDATE", "bulk_update": "UPDATE",
    "delete": "DELETE", "all": "SELECT", "get": "SELECT", "get_or_none": "SELECT", "filter": "SELECT",
    "first": "SELECT", "count": "SELECT", "select": "SELECT", "values": "SELECT",
}  # fmt: skip


class _Link(NamedTuple):
    """A call in a chain of calls: `.filter(...)` of `Row.objects.filter(...).update(...)`."""

    call: ast.Call
    name: str


def mapped_tables(project: Project) -> Mapping[str, str]:
    """Return the tables that classes and constants of the project stand for, by dotted name."""
    known: Mapping[str, str] | None = project.memory.get(("tables", "mapped"))
    if known is None:
        known = project.memory["tables", "mapped"] = dict(_mapped(project))
    return known


def mapped_statements(scope: Scope) -> Iterator[tuple[ast.Call, str, Meaning]]:
    """Yield the calls of a function that read or write a table by what stands for it, and what each does."""
    if not mapped_tables(scope.project):
        return
    for node in scope.nodes:
        if isinstance(node, ast.Call) and not isinstance(scope.module.parents.get(node), ast.Attribute):
            found = _of_chain(node, scope)
            if found is not None:
                verb, table = found
                tables, none = frozenset({table}), frozenset[str]()
                reads, writes = (tables, none) if verb == "SELECT" else (none, tables)
                yield node, verb, Meaning(reads, writes, none, (), False, False)


def _of_chain(node: ast.Call, scope: Scope) -> tuple[str, str] | None:
    """What a chain of calls does to which table: what its last word says, if it writes."""
    links, root = _links(node)
    tables = mapped_tables(scope.project)
    of_root = tables.get(_stands_for(root, scope) or "")
    found = of_root if any(each.name in _OF_MODEL for each in links) else None
    verbs = [_OF_MODEL[each.name] for each in links if each.name in _OF_MODEL] if found else []
    for link in links if found is None else []:
        words = _BUILDERS if _is_builder(link, scope) else _OF_SESSION
        is_look_up = link.name == "get" and len(link.call.args) < 2  # of a dict, as it seems
        for argument in link.call.args if link.name in words and not is_look_up else []:
            for each in argument.elts if isinstance(argument, ast.List | ast.Tuple) else [argument]:
                table = tables.get(_stands_for(each, scope) or "")
                if table is not None:
                    found = table
                    verbs.append(words[link.name])
        if found is not None and link.name == "query":
            verbs += [_OF_MODEL[each.name] for each in links if each.name in ("update", "delete")]
    if found is None or not verbs:
        return None
    return next((verb for verb in verbs if verb != "SELECT"), "SELECT"), found


def _links(node: ast.Call) -> tuple[list[_Link], ast.expr]:
    """The calls of a chain, the last one first, and what it begins with."""
    links: list[_Link] = []
    at: ast.expr = node
    while True:
        if isinstance(at, ast.Call):
            name = at.func.attr if isinstance(at.func, ast.Attribute) else getattr(at.func, "id", "")
            links.append(_Link(at, name))
            if not isinstance(at.func, ast.Attribute):
                return links, at.func
            at = at.func.value
        elif isinstance(at, ast.Attribute) and isinstance(at.value, ast.Attribute | ast.Call | ast.Name):
            if isinstance(at.value, ast.Name):
                return links, at
            at = at.value
        elif isinstance(at, ast.Await):
            at = at.value
        else:
            return links, at


def _is_builder(link: _Link, scope: Scope) -> bool:
    dotted = scope.dotted(link.call.func) or ""
    return link.name in _BUILDERS and dotted.partition(".")[0] in ("sqlalchemy", "sqlmodel")


def _stands_for(node: ast.expr, scope: Scope) -> str | None:
    """The class or constant that an expression is, is made by, or is an attribute of: `Row` of `Row.objects`."""
    while isinstance(node, ast.Await):
        node = node.value
    if isinstance(node, ast.Call):
        node = node.func
    tables = mapped_tables(scope.project)
    while True:
        if isinstance(node, ast.Name) and scope.binds(node.id):
            return scope.type_of(node.id)
        dotted = scope.project.dotted(node, scope.module)
        dotted = _origin(dotted, scope.project) if dotted is not None else None
        if dotted in tables or not isinstance(node, ast.Attribute):
            return dotted
        node = node.value


def _origin(dotted: str, project: Project) -> str:
    """The name by which it is known where it is made."""
    found = project.find(dotted)
    if found is not None:
        return found.dotted
    constant = project.constant(dotted)
    return f"{constant[0].name}.{dotted.rpartition('.')[2]}" if constant is not None else dotted


def _mapped(project: Project) -> Iterator[tuple[str, str]]:
    for cls in project.classes:
        table = _table_of(cls)
        if table is not None:
            yield cls.dotted, table
    for module in project.modules:
        for name, value in module.constants.items():
            table = _core_table(value, project.dotted(value.func, module)) if isinstance(value, ast.Call) else None
            if table is not None:
                yield f"{module.name}.{name}", table


def _core_table(made: ast.Call, by: str | None) -> str | None:
    if by not in ("sqlalchemy.Table", "sqlalchemy.schema.Table") or any(each.arg == "schema" for each in made.keywords):
        return None
    first = made.args[0] if made.args else None
    return first.value.lower() if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _table_of(cls: Found) -> str | None:
    body = dict(_bound(cls.node.body))
    if "__table_args__" in body and "schema" in ast.unparse(body["__table_args__"]):
        return None  # who knows whether that is ours
    named = [body["__tablename__"]] if "__tablename__" in body else []
    for node in cls.node.body:
        if isinstance(node, ast.ClassDef) and node.name == "Meta":
            named += [value for name, value in _bound(node.body) if name in _META]
    for value in named:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value.lower()
    return None


def _bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value
