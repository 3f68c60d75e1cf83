"""Checks that an aggregate is its events: folded twice, in two worlds, they give the same state.

Rule: what is found is raised as a ProgrammingError that names the line.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any
from uuid import UUID

from diptych.errors import ProgrammingError
from diptych.handlers import where
from diptych.messages import DomainEvent
from diptych.testing.tracing import Run, following, parting, remembering
from diptych.testing.values import quoted
from diptych.testing.worlds import world
from diptych.write import guard
from diptych.write.aggregate import Aggregate, appliers, pending, replay
from diptych.write.comparing import differing

__tracebackhide__ = True  # pytest shows the line of the test, not ours

_NIL = UUID(int=0)
_INSTEAD = (
    "An @on method runs again each time the aggregate is loaded, and must give the same. Make ids and times where the "
    "event is recorded, put them into the event, and take them from there: self.{name} = event.{name}."
)
_MEMORY = "What an @on method keeps anywhere but in its aggregate is not the same after a restart. Keep it in self."


class _Nothing:
    """No aggregate is of it: their attributes are to change."""


def check_fold(aggregate: type[Aggregate], events: Sequence[DomainEvent]) -> None:
    """Fold a history twice. :raises ProgrammingError: the states differ; it names the line."""
    new = aggregate(_NIL)
    _check(aggregate, lambda: _again(new, guard.snapshot(new), events))


def examine(aggregate: Aggregate, before: dict[str, Any]) -> None:
    """Fold what an aggregate has just recorded twice. :raises ProgrammingError: the states differ; it names the line.

    Called by the guard for each aggregate of a command, before it compares.
    """
    _check(type(aggregate), lambda: _again(aggregate, before, pending(aggregate)))


def _check(kind: type[Aggregate], fold: Callable[[], dict[str, Any]]) -> None:
    appliers(kind)  # read now, while every name in the annotations means what it says
    with world(0, kind.__module__):
        first = fold()
    with world(1, kind.__module__):
        second = fold()
    names = differing(first, second)
    if names:
        raise ProgrammingError(_told(kind, names, fold))


def _told(kind: type[Aggregate], names: Sequence[str], fold: Callable[[], object]) -> str:
    runs: list[Run] = []
    for number in (0, 1):
        with world(number, kind.__module__), following(_Nothing) as run:
            fold()
        runs.append(run)
    kept = remembering(runs[0])
    found = kept or parting(*runs)
    place = found.place if found else ", ".join(map(where, dict.fromkeys(appliers(kind).values())))
    of = f"{kind.__name__}.{', '.join(names)}"
    advice = _MEMORY if kept else _INSTEAD.format(name=names[0])
    return f"{place}: {of} is not the same when the same events are folded again.{quoted(place)}{advice}"


def _again(like: Aggregate, before: dict[str, Any], events: Sequence[DomainEvent]) -> dict[str, Any]:
    """Fold events over a state, on an object of their own."""
    again = type(like)(like.id)
    again.__dict__.update(deepcopy(before))
    replay(again, events)
    return guard.snapshot(again)
