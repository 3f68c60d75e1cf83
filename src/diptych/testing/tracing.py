"""What the user's code does, line by line: to say on which line two runs begin to differ.

Rule: only ever used once something was found to be wrong, for it is slow.
"""

import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

from diptych.testing.values import copied
from diptych.write import guard
from diptych.write.comparing import differing, is_same

OTHERS: Final = (
    f"{Path(guard.__file__).parents[1]}{os.sep}",  # Diptych itself
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    "<",  # what was made of text: the methods of named tuples and dataclasses
)
"""How the names of files begin that hold nobody's own code."""

_DATA = (list, dict, set, int, float, str)


class Step(NamedTuple):
    """What a function has after the line at `place`: its local names, and what lives on beside them."""

    place: str
    local: Mapping[str, Any]
    lasting: Mapping[str, Any]


class Difference(NamedTuple):
    """Where two runs part: the place, and the names that do not hold the same from there on."""

    place: str
    names: Sequence[str]


class Run:
    """What the user's code did, step by step, in the order of time. `kind` is the class whose attributes last."""

    def __init__(self, kind: type) -> None:
        self.steps: list[Step] = []
        self._kind = kind
        self._before: dict[FrameType, int] = {}  # the line each frame is at; frames are held, so that none is reused

    def follow(self, frame: FrameType, event: str, value: Any) -> Any:
        """Note a step, if it is of the user's code."""
        if frame.f_code.co_filename.startswith(OTHERS):
            return None
        names = {"return": value} if event == "return" else {}
        line = self._before.get(frame, frame.f_code.co_firstlineno)
        place = f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"
        self.steps.append(_step(place, frame, self._kind, names))
        if event != "call":
            self._before[frame] = frame.f_lineno
        return self.follow


@contextmanager
def following(kind: type) -> Iterator[Run]:
    """Note what the user's code does, in this thread and in those that begin meanwhile."""
    run = Run(kind)
    with told(run.follow):
        yield run


@contextmanager
def told(follow: Callable[[FrameType, str, Any], Any]) -> Iterator[None]:
    """Have a function told of each line that is run, in this thread and in those that begin meanwhile."""
    before = sys.gettrace()
    threading.settrace(follow)
    sys.settrace(follow)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)


def parting(one: Run, other: Run) -> Difference | None:
    """Return where two runs begin to differ, or None if they do not."""
    for mine, its in zip(one.steps, other.steps, strict=False):
        if mine.place != its.place:
            return Difference(mine.place, ())
        names = differing({**mine.local, **mine.lasting}, {**its.local, **its.lasting})
        if names:
            return Difference(mine.place, names)
    return None


def remembering(run: Run) -> Difference | None:
    """Return the first line that changed what outlives the event, or None if none did."""
    known: dict[str, Any] = {}
    for step in run.steps:
        names = [name for name in step.lasting if name in known and not is_same(known[name], step.lasting[name])]
        if names:
            return Difference(step.place, [name.partition(" ")[0] for name in names])
        known.update(step.lasting)
    return None


def _step(place: str, frame: FrameType, kind: type, more: Mapping[str, Any]) -> Step:
    names, lasting = dict(frame.f_locals), dict[str, Any]()
    me = names.pop("self", None)
    (lasting if isinstance(me, kind) else names).update(_attributes(me))
    for name in frame.f_code.co_names:
        if isinstance(value := frame.f_globals.get(name), _DATA):
            lasting[f"{name} of {frame.f_globals['__name__']}"] = copied(value)
    for name in frame.f_code.co_freevars:
        if isinstance(value := names.pop(name, None), _DATA):
            lasting[f"{name} of {frame.f_code.co_qualname}"] = copied(value)
    return Step(place, {name: copied(value) for name, value in {**names, **more}.items()}, lasting)


def _attributes(me: Any) -> dict[str, Any]:
    """Return what an object holds, and the data of its class that it shares with others."""
    shared = {name: value for name, value in vars(type(me)).items() if isinstance(value, _DATA) and name[0] != "_"}
    own = guard.state_of(getattr(me, "__dict__", {}))
    return {f"self.{name}": copied(value) for name, value in {**shared, **own}.items()}
