"""Which function plays which part: command handler, query handler, `@on` of what, route.

Rule: parts are found by base class, decorator and annotation, as the framework itself finds them.
"""

import ast
from collections.abc import Collection, Iterator
from enum import Enum
from typing import NamedTuple

from diptych.lint.module import Function, Module, walked
from diptych.lint.project import Project
from diptych.lint.scope import Scope, annotated, scope_for

_ROUTES = {"get", "post", "put", "patch", "delete", "head", "options", "api_route", "websocket"}


class Part(Enum):
    """What a function is to Diptych."""

    COMMAND = "command handler"
    QUERY = "query handler"
    APPLY = "@on method of an aggregate"  # and a private method that only those call
    DECIDE = "method of an aggregate"  # any other one, also private: it decides and records
    PROJECT = "@on method of a projection"
    PROJECT_SQL = "handle() of a projection"
    FOLLOW = "method of a saga"  # @on, and a @step that says which command; async ones call on purpose
    REACT = "reaction"
    UPCAST = "upcaster"
    ROUTE = "route"  # of FastAPI or Starlette


PROJECTING = (Part.PROJECT, Part.PROJECT_SQL)
AGGREGATE = (Part.APPLY, Part.DECIDE)
BUS = (Part.COMMAND, Part.QUERY)


class Role(NamedTuple):
    """A function with its part. `message` is the command, query or event it takes, by dotted name."""

    part: Part
    function: Function
    module: Module
    name: str  # qualified: `place_order`, `Order.place`
    owner: str | None  # dotted name of the class it is a method of
    message: str | None

    def scope(self, project: Project) -> Scope:
        """Return what names mean inside it."""
        return scope_for(self.function, self.module, project)


def roles(module: Module, project: Project) -> tuple[Role, ...]:
    """Return the functions of a module that have a part."""
    known: tuple[Role, ...] | None = project.memory.get(("roles", module))
    if known is None:
        found = _roles(module, project) if project.uses_library(module) else ()
        known = project.memory["roles", module] = tuple(found)
    return known


def _roles(module: Module, project: Project) -> Iterator[Role]:
    helping = _helping(module, project)
    for name, node in module.defined.items():
        if isinstance(node, ast.ClassDef):
            continue
        outer, _, _ = name.rpartition(".")
        owner = f"{module.name}.{outer}" if isinstance(module.defined.get(outer), ast.ClassDef) else None
        part = Part.APPLY if name in helping else _part(node, owner, project)
        if part is not None:
            yield Role(part, node, module, name, owner, _message(node, owner, module, project))


def _helping(module: Module, project: Project) -> set[str]:
    """The private methods of aggregates that are called by `@on` methods, and by no other."""
    found: set[str] = set()
    for name, node in module.defined.items():
        if isinstance(node, ast.ClassDef) and project.is_a(f"{module.name}.{name}", "Aggregate"):
            found.update(f"{name}.{each}" for each in _called_by_on(node))
    return found


def _called_by_on(cls: ast.ClassDef) -> set[str]:
    methods = {node.name: node for node in cls.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    applying = {name for name, node in methods.items() if "on" in dict(decorators(node))}
    callers: dict[str, set[str]] = {}
    for caller, node in methods.items():
        for each in walked(node):
            if isinstance(each, ast.Attribute) and each.attr in methods:
                callers.setdefault(each.attr, set()).add(caller)
    found: set[str] = set()
    while True:
        more = {
            name
            for name, by in callers.items()
            if name.startswith("_") and name not in applying | found and by - {name} and by - {name} <= applying | found
        }
        if not more:
            return found
        found |= more


def decorators(function: Function | ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """Yield the last name of each decorator, and its node: `command_handler` of `@app.command_handler`."""
    for node in function.decorator_list:
        target = node.func if isinstance(node, ast.Call) else node
        if isinstance(target, ast.Attribute):
            yield target.attr, node
        elif isinstance(target, ast.Name):
            yield target.id, node


def _part(function: Function, owner: str | None, project: Project) -> Part | None:
    names = dict(decorators(function))
    if owner is not None:
        return _part_of_method(function, owner, project, names.keys())
    if "command_handler" in names or "query_handler" in names:
        return Part.COMMAND if "command_handler" in names else Part.QUERY
    for mark, part in (("upcast", Part.UPCAST), ("reaction", Part.REACT)):
        if mark in names:
            return part
    return Part.ROUTE if _is_route(function) else None


def _part_of_method(function: Function, owner: str, project: Project, marks: Collection[str]) -> Part | None:
    is_on = "on" in marks
    if project.is_a(owner, "Aggregate"):
        return Part.APPLY if is_on else Part.DECIDE
    if project.is_a(owner, "Projection"):
        return Part.PROJECT if is_on else Part.PROJECT_SQL if function.name == "handle" else None
    if project.is_a(owner, "Saga", "Steps"):
        is_plain = isinstance(function, ast.FunctionDef) and not {"on", "step", "undo"}.isdisjoint(marks)
        return Part.FOLLOW if is_plain else None
    if function.name == "handle":
        for name, part in (("CommandHandler", Part.COMMAND), ("QueryHandler", Part.QUERY)):
            if project.is_a(owner, name):
                return part
    return None


def _is_route(function: Function) -> bool:
    """A route has an HTTP verb as decorator, called with a path: `@api.get("/orders")`."""
    for name, node in decorators(function):
        if name in _ROUTES and isinstance(node, ast.Call) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value[:1] in ("/", ""):
                return True
    return False


def _message(function: Function, owner: str | None, module: Module, project: Project) -> str | None:
    """The first parameter that is a command, a query or an event."""
    skip = 1 if owner is not None else 0
    for argument in function.args.args[skip:]:
        found = annotated(argument.annotation, module, project)
        if project.is_a(found, "Command", "Query", "DomainEvent"):
            return found
    return None
