"""What a function calls, itself and through others of the project.

Rule: a call that cannot be resolved is not there; the guards at run time see what is missed here.
"""

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from diptych.lint.findings import Finding, Note
from diptych.lint.module import Function, Module, children
from diptych.lint.project import Found, Project
from diptych.lint.roles import Role
from diptych.lint.scope import Scope, scope_for

DEPTH = 3  # functions deep


class Called(NamedTuple):
    """A call in `module`, and what it calls: `httpx.AsyncClient.post`."""

    node: ast.Call
    dotted: str
    module: Module
    is_inner: bool = False  # in a lambda or an inner function: who knows when, and in which thread


class Reached(NamedTuple):
    """The call in the function that was asked about, and those it leads through; the last one is what was looked for.

    `path[0].node` is where to point; with more than one, the others belong into the notes.
    """

    path: tuple[Called, ...]

    @property
    def last(self) -> Called:
        """The call that was looked for."""
        return self.path[-1]


def calls(scope: Scope) -> Sequence[Called]:
    """Return the calls in a function, inner functions and lambdas too, that can be resolved, in their order."""
    known: Sequence[Called] | None = scope.project.memory.get(("calls", scope.function))
    if known is None:
        known = scope.project.memory["calls", scope.function] = tuple(_calls(scope))
    return known


def _calls(scope: Scope) -> Iterator[Called]:
    ahead: list[tuple[ast.AST, bool]] = [(node, False) for node in reversed(scope.function.body)]
    while ahead:  # no recursion: a sum of a thousand texts is a tree a thousand deep
        node, is_inner = ahead.pop()
        if isinstance(node, ast.Call):
            dotted = scope.dotted(node.func)
            if dotted is not None:
                yield Called(node, dotted, scope.module, is_inner)
        is_inner = is_inner or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        ahead += [(child, is_inner) for child in reversed(children(node))]


def reached(
    scope: Scope,
    project: Project,
    is_wanted: Callable[[Called], bool],
    depth: int = DEPTH,
    is_open: Callable[[Found], bool] = lambda found: True,
) -> Iterator[Reached]:
    """Yield the ways by which a function comes to a wanted call: at once, or through functions of the project.

    `is_open` says of a function whether to look into it.
    """
    yield from _ways(scope, _Wanted(project, is_wanted, is_open), depth, frozenset({id(scope.function)}))


class _Wanted(NamedTuple):
    project: Project
    is_wanted: Callable[[Called], bool]
    is_open: Callable[[Found], bool]


def _ways(scope: Scope, wanted: _Wanted, depth: int, seen: frozenset[int]) -> Iterator[Reached]:
    for call in calls(scope):
        if wanted.is_wanted(call):
            yield Reached((call,))
            continue
        inner = wanted.project.find(call.dotted) if depth else None
        if inner is None or isinstance(inner.node, ast.ClassDef) or id(inner.node) in seen or not wanted.is_open(inner):
            continue
        within = scope_of(inner, inner.node, wanted.project)
        for way in _ways(within, wanted, depth - 1, seen | {id(inner.node)}):
            yield Reached((call, *way.path))
            break  # one way through each call is enough to tell


def notes(path: Sequence[Called], *, is_all: bool = True) -> tuple[Note, ...]:
    """Return the calls on a way, after the first, for the notes of a finding; `is_all`: it ends with the last."""
    last = len(path) - 1 if is_all else len(path)
    return tuple(
        Note(call.module.place(call.node), "here" if at == last else "from there") for at, call in enumerate(path) if at
    )


def at_call(rule: str, role: Role, way: Reached, message: str, hint: str, label: str) -> Finding:
    """Return a finding that points at the call in a role's function, and tells the rest of the way in its notes."""
    return Finding(rule, role.module.place(way.path[0].node), message, hint, role.name, label, notes(way.path))


def scope_of(found: Found, function: Function, project: Project) -> Scope:
    """Return what names mean in a function that was found."""
    return scope_for(function, found.module, project)
