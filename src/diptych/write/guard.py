"""Finds state that changes outside `@on`, in tests and in development: it would be lost on the next load.

Two nets: setting an attribute raises at once; a value changed in place is found when the command commits, by folding
its events once more and comparing (the check of Axon's test fixture). Production pays for neither.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from diptych.errors import ProgrammingError
from diptych.write.aggregate import Aggregate, appliers, pending

_installed: list[Callable[[], bool]] = []  # by each app that runs in development


def install(is_exempt: Callable[[], bool]) -> None:
    """Watch every attribute set on an aggregate in this process, until uninstalled as often as installed.

    `is_exempt` says whether what runs here belongs to an app in production mode, which is left alone.
    """
    _installed.append(is_exempt)
    setattr(Aggregate, "__setattr__", _set)  # noqa: B010 - a method of every aggregate, put there from outside


def uninstall() -> None:
    """Stop watching, unless somebody else wants it."""
    _installed.pop()
    if not _installed:
        delattr(Aggregate, "__setattr__")


def snapshot(aggregate: Aggregate) -> dict[str, Any]:
    """Copy an aggregate's state, to compare with at commit."""
    return deepcopy(_state(aggregate))


def check(aggregate: Aggregate, before: dict[str, Any]) -> None:
    """Compare an aggregate with its state before plus its events.

    :raises ProgrammingError: something else changed it.
    """
    again = type(aggregate)(aggregate.id)
    again.__dict__.update(deepcopy(before))
    find = appliers(type(aggregate))
    again.__dict__["_is_applying"] = True
    for event in pending(aggregate):
        if type(event) in find:
            find[type(event)](again, event)
    expected, found = _state(again), _state(aggregate)
    changed = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if changed:
        raise ProgrammingError(
            f"{aggregate}: {', '.join(changed)} changed outside @on, so the change would be lost on the next load. "
            "Record an event and change it in the @on method of that event."
        )


def _set(self: Aggregate, name: str, value: Any) -> None:
    if not self.__dict__.get("_is_applying", False) and not _installed[-1]():
        raise ProgrammingError(
            f"{type(self).__name__}.{name} is set outside @on, so the change would be lost on the next load. "
            "Record an event and set it in the @on method of that event."
        )
    object.__setattr__(self, name, value)


def _state(aggregate: Aggregate) -> dict[str, Any]:
    hidden = ("_pending", "_is_applying", "version")
    return {name: value for name, value in aggregate.__dict__.items() if name not in hidden}
