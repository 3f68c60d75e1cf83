"""What happens line by line while some functions run: to say on which line two runs begin to differ.

Rule: only ever used once something was found to be wrong, for it is slow.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, NamedTuple

from diptych.testing.comparing import copied, differing

_DATA = (list, dict, set, int, float, str)
_INNER = ("_is_applying", "_pending", "version")


class Step(NamedTuple):
    """What a function had before a line: its local names, and what lives on beside them (`self.x`, globals)."""

    line: int
    local: Mapping[str, Any]
    lasting: Mapping[str, Any]


@dataclass(slots=True)
class Call:
    """One run of a function, a step for each of its lines and one for its end."""

    code: CodeType
    steps: list[Step] = field(default_factory=list)

    def place(self, index: int) -> str:
        """Say where the line is that led to a step: `file:line name`."""
        line = self.steps[index - 1].line if index else self.code.co_firstlineno
        return f"{self.code.co_filename}:{line} {self.code.co_qualname}"


class Difference(NamedTuple):
    """Where two runs part: the place, and the names that do not hold the same from there on."""

    place: str
    names: Sequence[str]


@contextmanager
def following(functions: Sequence[Callable[..., Any]]) -> Iterator[list[Call]]:
    """Note each call of these functions, in this thread and in those that begin meanwhile."""
    codes = {function.__code__ for function in functions if hasattr(function, "__code__")}
    calls: list[Call] = []
    going: dict[FrameType, Call] = {}  # held, so that no other frame takes its place

    def entered(frame: FrameType, event: str, _: Any) -> Any:
        if event != "call" or frame.f_code not in codes:
            return None
        if frame not in going:  # a coroutine is entered again each time it goes on
            going[frame] = Call(frame.f_code)
            calls.append(going[frame])
        return within

    def within(frame: FrameType, event: str, value: Any) -> Any:
        if event in ("line", "return"):
            going[frame].steps.append(_step(frame, {"return": value} if event == "return" else {}))
        return within

    before = sys.gettrace()
    threading.settrace(entered)
    sys.settrace(entered)
    try:
        yield calls
    finally:
        sys.settrace(before)
        threading.settrace(before)


def parting(one: Sequence[Call], other: Sequence[Call]) -> Difference | None:
    """Return where two runs begin to differ, or None if they do not."""
    for first, second in zip(one, other, strict=False):
        for index, (mine, its) in enumerate(zip(first.steps, second.steps, strict=False)):
            names = differing({**mine.local, **mine.lasting}, {**its.local, **its.lasting})
            if names:
                return Difference(first.place(index), names)
            if mine.line != its.line:
                return Difference(first.place(index), ())
    return None


def remembering(calls: Sequence[Call]) -> Difference | None:
    """Return the first line that changed what outlives its call, or None if none did."""
    for call in calls:
        for index in range(1, len(call.steps)):
            names = differing(call.steps[index - 1].lasting, call.steps[index].lasting)
            if names:
                return Difference(call.place(index), names)
    return None


def _step(frame: FrameType, more: Mapping[str, Any]) -> Step:
    names = dict(frame.f_locals)
    lasting = _attributes(names.pop("self", None))
    for name in frame.f_code.co_names:
        if isinstance(value := frame.f_globals.get(name), _DATA):
            lasting[name] = copied(value)
    for name in frame.f_code.co_freevars:
        if isinstance(value := names.pop(name, None), _DATA):
            lasting[name] = copied(value)
    return Step(frame.f_lineno, {name: copied(value) for name, value in {**names, **more}.items()}, lasting)


def _attributes(me: Any) -> dict[str, Any]:
    """Return what an object holds, and the data of its class that it shares with others."""
    shared = {name: value for name, value in vars(type(me)).items() if isinstance(value, _DATA) and name[0] != "_"}
    own = {name: value for name, value in getattr(me, "__dict__", {}).items() if name not in _INNER}
    return {f"self.{name}": copied(value) for name, value in {**shared, **own}.items()}
