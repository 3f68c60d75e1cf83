"""Finds the line that changed an aggregate in place, outside `@on`: a list appended to, a dict that got a key.

Rule: only used once the guard has found that something was changed; what happened is played again for it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from types import FrameType
from typing import Any

from diptych.testing.tracing import OTHERS, told
from diptych.write import guard
from diptych.write.aggregate import Aggregate, appliers, pending, replay
from diptych.write.comparing import differing


class Watched:
    """The aggregates of one story while it is played, each with its state before, and the first line that broke it."""

    def __init__(self) -> None:
        self.place: str | None = None
        self._before: dict[int, tuple[Aggregate, Mapping[str, Any]]] = {}
        self._last = ""

    def loaded(self, aggregate: Aggregate, state: Mapping[str, Any]) -> None:
        """Note an aggregate and how it is before anything is done to it."""
        self._before[id(aggregate)] = (aggregate, state)

    def line(self, frame: FrameType, event: str, _: Any) -> Any:
        """Look at all of them before each line of the user's code."""
        if frame.f_code.co_filename.startswith(OTHERS) or self.place:
            return None
        for value in frame.f_locals.values():
            if isinstance(value, Aggregate) and id(value) not in self._before and _is_new(value):
                self.loaded(value, guard.snapshot(value))
        if any(_is_changed(*known) for known in self._before.values()):
            self.place = self._last
        if event != "call":
            self._last = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
        return self.line


@contextmanager
def watching() -> Iterator[Watched]:
    """Watch what is played in this thread and in those that begin meanwhile."""
    watched, snapshot = Watched(), guard.snapshot

    def noted(aggregate: Aggregate) -> dict[str, Any]:
        state = snapshot(aggregate)
        watched.loaded(aggregate, state)
        return state

    setattr(guard, "snapshot", noted)  # noqa: B010 - it is called when a command has loaded an aggregate
    try:
        with told(watched.line):
            yield watched
    finally:
        setattr(guard, "snapshot", snapshot)  # noqa: B010 - what was there before


def place_of(play: Callable[[], object]) -> str | None:
    """Play something again that changed an aggregate outside `@on`, and return where: `file:line name`."""
    with watching() as watched:
        try:
            play()
        except Exception:  # what it ends with is known already
            return watched.place
    return watched.place


def _is_new(aggregate: Aggregate) -> bool:
    return not pending(aggregate) and not aggregate.__dict__.get("_is_applying")


def _is_changed(aggregate: Aggregate, before: Mapping[str, Any]) -> bool:
    if aggregate.__dict__.get("_is_applying"):
        return False
    again = type(aggregate)(aggregate.id)
    again.__dict__.update(deepcopy(dict(before)))
    events = [event for event in pending(aggregate) if type(event) in appliers(type(aggregate))]
    replay(again, events)
    return bool(differing(guard.state_of(again.__dict__), guard.state_of(aggregate.__dict__)))
