"""Two worlds that differ in what nobody may depend on: the time of day, and chance.

Code that gives the same in both looked at neither. `random` is seeded; the clock is shifted for code of the user's own
package. What only real chance makes (`uuid4`, `secrets`, `os.urandom`) differs by itself.

Rule: everything is put back, whatever happens in between.
"""

import datetime as real
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, NamedTuple

SHIFTS: Final = (real.timedelta(days=-1234, seconds=7), real.timedelta(days=2345, seconds=77))
"""By how much the clocks of the two worlds are off: never the same day, month, year or second."""


class _Slot(NamedTuple):
    """A global name of a module that stands for a clock."""

    module: ModuleType
    name: str
    value: Any


@contextmanager
def world(number: int, package: str) -> Iterator[None]:
    """Live in the first (0) or the second (1) world for a while; `package` is the module whose code shall notice."""
    before, stand_ins = random.getstate(), _stand_ins(SHIFTS[number])
    slots = list(_slots(package.partition(".")[0], stand_ins))
    random.seed(number)
    for slot in slots:
        setattr(slot.module, slot.name, stand_ins[id(slot.value)])
    try:
        yield
    finally:
        for slot in slots:
            setattr(slot.module, slot.name, slot.value)
        random.setstate(before)


def _slots(package: str, stand_ins: dict[int, Any]) -> Iterator[_Slot]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package and isinstance(module, ModuleType):
            for known, value in list(vars(module).items()):
                if id(value) in stand_ins:
                    yield _Slot(module, known, value)


def _stand_ins(shift: real.timedelta) -> dict[int, Any]:
    """Return what takes the place of each clock that Python has, by the id of what it replaces."""
    seconds = shift.total_seconds()

    def now() -> float:
        return time.time() + seconds

    shifted = {
        "time": now,
        "time_ns": lambda: time.time_ns() + int(seconds) * 10**9,
        "monotonic": lambda: time.monotonic() + abs(seconds),
        "perf_counter": lambda: time.perf_counter() + abs(seconds),
        "gmtime": lambda at=None: time.gmtime(time.time() + seconds if at is None else at),
        "localtime": lambda at=None: time.localtime(time.time() + seconds if at is None else at),
        "strftime": lambda form, at=None: time.strftime(
            form, time.localtime(time.time() + seconds) if at is None else at
        ),
        "ctime": lambda at=None: time.ctime(time.time() + seconds if at is None else at),
    }
    moment, day = _datetime(shift), _date(shift)
    of_datetime = _module(real, {"datetime": moment, "date": day})
    found = {id(real.datetime): moment, id(real.date): day, id(real): of_datetime, id(time): _module(time, shifted)}
    return found | {id(getattr(time, name)): function for name, function in shifted.items()}


def _module(of: ModuleType, changed: dict[str, Any]) -> ModuleType:
    stand_in = ModuleType(of.__name__)
    stand_in.__dict__.update(vars(of), **changed)
    return stand_in


class _LooksReal(type):
    """The class of a class that makes real datetimes or dates, and takes them for its own."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.__mro__[1])

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.__mro__[1])


def _datetime(shift: real.timedelta) -> Any:
    class Shifted(real.datetime, metaclass=_LooksReal):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return real.datetime(*args, **kwargs)

        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> Any:
            return real.datetime.now(tz) + shift

        @classmethod
        def utcnow(cls) -> Any:
            return real.datetime.now(real.UTC).replace(tzinfo=None) + shift

        @classmethod
        def today(cls) -> Any:
            return real.datetime.now() + shift

    return Shifted


def _date(shift: real.timedelta) -> Any:
    class Shifted(real.date, metaclass=_LooksReal):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return real.date(*args, **kwargs)

        @classmethod
        def today(cls) -> Any:
            return real.date.today() + shift

    return Shifted
