"""What Diptych's own calls do, by dotted name; and which functions of a project belong to an aggregate.

Rule: as in `known.py`, questions only.
"""

from diptych.lint.calls import Called
from diptych.lint.project import Found, Project

_WAITING = {
    "CommandBus": ("dispatch",),
    "App.commands": ("dispatch",),
    "QueryBus": ("dispatch", "answer"),
    "App.queries": ("dispatch", "answer"),
    "Repository": ("get", "get_or_none", "get_or_new"),
    "ReadModels": ("one", "find", "first"),
    "Db": ("execute", "rows"),
    "App": ("caught_up", "status"),
}


def is_of(dotted: str, owner: str, *names: str) -> bool:
    """Whether a call is one of a class of Diptych: `is_of(dotted, "Repository", "get", "add")`; any without names."""
    of, _, name = dotted.rpartition(".")
    return of.startswith("diptych.") and of.endswith(f".{owner}") and (not names or name in names)


def is_dispatch(call: Called) -> bool:
    """Whether a call sends a command."""
    return any(is_of(call.dotted, owner, "dispatch") for owner in ("CommandBus", "App.commands"))


def is_coroutine(dotted: str) -> bool:
    """Whether a call does nothing until it is awaited."""
    return any(is_of(dotted, owner, *names) for owner, names in _WAITING.items())


def aggregate_of(found: Found, project: Project) -> str | None:
    """Return the aggregate that a function is a method of."""
    outer = f"{found.module.name}.{found.name.rpartition('.')[0]}"
    return outer if project.is_a(outer, "Aggregate") else None


def records(dotted: str, project: Project) -> str | None:
    """Return the aggregate that a call records an event on: by `record`, or by a method of it that does."""
    owner, _, name = dotted.rpartition(".")
    if not project.is_a(owner, "Aggregate"):
        return None
    if name == "record":
        return owner
    method = project.find(dotted)
    if method is None or aggregate_of(method, project) is None:
        return None
    source = method.module.source(method.node)
    return owner if ".record(" in source else None
