"""Finds state that changes outside `@on`, in tests and in development: it would be lost on the next load.

Three nets: setting an attribute raises at once; a value changed in place is found when the command commits, by folding
its events once more and comparing (the check of Axon's test fixture); and so is an aggregate that recorded something
and was never added to its repository. Production pays for none of them.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from diptych.errors import ProgrammingError
from diptych.messages import DomainEvent
from diptych.write.aggregate import Aggregate, appliers, pending
from diptych.write.comparing import differing

_installed: list[Callable[[], bool]] = []  # by each app that runs in development
_noted: list[Callable[[Aggregate], None]] = []
_plain_record = Aggregate.record
_examiners: list[Callable[[Aggregate, dict[str, Any]], None]] = []


def install(is_exempt: Callable[[], bool], note: Callable[[Aggregate], None]) -> None:
    """Watch every aggregate of this process, until uninstalled as often as installed.

    `is_exempt` says whether what runs here belongs to an app in production mode, which is left alone; `note` is told
    of every aggregate that records something.
    """
    _installed.append(is_exempt)
    _noted.append(note)
    setattr(Aggregate, "__setattr__", _set)  # noqa: B010 - a method of every aggregate, put there from outside
    setattr(Aggregate, "record", _record)  # noqa: B010 - the same


def uninstall() -> None:
    """Stop watching, unless somebody else wants it."""
    _installed.pop()
    _noted.pop()
    if not _installed:
        delattr(Aggregate, "__setattr__")
        setattr(Aggregate, "record", _plain_record)  # noqa: B010 - what was there before


@contextmanager
def examining(examine: Callable[[Aggregate, dict[str, Any]], None]) -> Iterator[None]:
    """Have each aggregate looked at more closely for a while, with its state before: what the test kit does."""
    _examiners.append(examine)
    try:
        yield
    finally:
        _examiners.remove(examine)


def snapshot(aggregate: Aggregate) -> dict[str, Any]:
    """Copy an aggregate's state, to compare with at commit."""
    return deepcopy(state_of(aggregate.__dict__))


def state_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an aggregate's attributes that its events make."""
    hidden = ("_pending", "_is_applying", "version")
    return {name: value for name, value in attributes.items() if name not in hidden}


def check(aggregate: Aggregate, before: dict[str, Any]) -> None:
    """Compare an aggregate with its state before plus its events.

    :raises ProgrammingError: something else changed it.
    """
    for examine in _examiners:
        examine(aggregate, before)
    again = type(aggregate)(aggregate.id)
    again.__dict__.update(deepcopy(before))
    find = appliers(type(aggregate))
    again.__dict__["_is_applying"] = True
    for event in pending(aggregate):
        if type(event) in find:
            find[type(event)](again, event)
    changed = differing(state_of(again.__dict__), state_of(aggregate.__dict__))
    if changed:
        raise ProgrammingError(
            f"{aggregate}: {', '.join(changed)} changed outside @on, so the change would be lost on the next load. "
            "Record an event and change it in the @on method of that event."
        )


def check_added(recorded: Iterable[Aggregate], added: Iterable[Aggregate]) -> None:
    """:raises ProgrammingError: an aggregate recorded something and its repository does not know it."""
    known = {id(aggregate) for aggregate in added}
    for aggregate in recorded:
        if id(aggregate) not in known:
            raise ProgrammingError(
                f"{aggregate} recorded {type(pending(aggregate)[-1]).__name__} and was never added to its repository, "
                "so nothing of it would be stored. Call add on the repository."
            )


def _record(self: Aggregate, event: DomainEvent) -> None:
    _plain_record(self, event)
    _noted[-1](self)


def _set(self: Aggregate, name: str, value: Any) -> None:
    if not self.__dict__.get("_is_applying", False) and not _installed[-1]():
        line = sys._getframe(1)
        raise ProgrammingError(
            f"{line.f_code.co_filename}:{line.f_lineno} {line.f_code.co_qualname}: "
            f"{type(self).__name__}.{name} is set outside @on, so the change would be lost on the next load. "
            "Record an event and set it in the @on method of that event."
        )
    object.__setattr__(self, name, value)
