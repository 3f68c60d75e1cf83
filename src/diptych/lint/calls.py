"""What a function calls, itself and through others of the project.

Rule: a call that cannot be resolved is not there; the guards at run time see what is missed here.
"""

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

from diptych.lint.module import Function, Module
from diptych.lint.project import Found, Project
from diptych.lint.scope import Scope

DEPTH = 3  # functions deep


class Called(NamedTuple):
    """A call in `module`, and what it calls: `httpx.AsyncClient.post`."""

    node: ast.Call
    dotted: str
    module: Module


class Reached(NamedTuple):
    """The call in the function that was asked about, and those it leads through; the last one is what was looked for.

    `path[0].node` is where to point; with more than one, the others belong into the notes.
    """

    path: tuple[Called, ...]

    @property
    def last(self) -> Called:
        """The call that was looked for."""
        return self.path[-1]


def calls(scope: Scope) -> Iterator[Called]:
    """Yield the calls in a function, inner functions and lambdas too, that can be resolved."""
    for node in ast.walk(scope.function):
        if isinstance(node, ast.Call) and not _is_decorator(node, scope.function):
            dotted = scope.dotted(node.func)
            if dotted is not None:
                yield Called(node, dotted, scope.module)


def reached(
    scope: Scope, project: Project, is_wanted: Callable[[Called], bool], depth: int = DEPTH
) -> Iterator[Reached]:
    """Yield the ways by which a function comes to a wanted call: at once, or through functions of the project."""
    yield from _ways(scope, project, is_wanted, depth, frozenset({id(scope.function)}))


def _ways(
    scope: Scope, project: Project, is_wanted: Callable[[Called], bool], depth: int, seen: frozenset[int]
) -> Iterator[Reached]:
    for call in calls(scope):
        if is_wanted(call):
            yield Reached((call,))
            continue
        inner = project.find(call.dotted) if depth else None
        if inner is None or isinstance(inner.node, ast.ClassDef) or id(inner.node) in seen:
            continue
        within = scope_of(inner, inner.node, project)
        for way in _ways(within, project, is_wanted, depth - 1, seen | {id(inner.node)}):
            yield Reached((call, *way.path))
            break  # one way through each call is enough to tell


def scope_of(found: Found, function: Function, project: Project) -> Scope:
    """Return what names mean in a function that was found."""
    outer = found.name.rpartition(".")[0]
    is_method = isinstance(found.module.defined.get(outer), ast.ClassDef)
    return Scope(function, found.module, project, f"{found.module.name}.{outer}" if is_method else None)


def _is_decorator(node: ast.Call, function: Function) -> bool:
    return any(node is each for each in function.decorator_list)
