"""Finds blocking calls in async handlers, in tests and in development: they stand in the way of every other request.

`blockbuster` puts a check before what blocks (sleeping, sockets, files, sqlite3, programs, input), in this whole
process; here it is decided whose call it was. Only those of a user's handler, and of what it calls or starts, are
refused: not ours, no framework's, and none on another thread. Production pays for none of it.
"""

import linecache
import logging
import os
import re
import sys
import sysconfig
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

from diptych.errors import ProgrammingError

_log: Final = logging.getLogger("diptych.development")
_WATCHED: Final = ("time.sleep", "io.", "socket.", "ssl.", "sqlite3.", "builtins.input")
_PROGRAMS: Final = (
    "subprocess.run",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "os.system",
)
_LOGGING: Final = ("logging/__init__.py", {"emit", "flush"})
_IGNORED: Final = re.compile(r"#\s*(?:diptych:\s*ignore\[[^\]]*DP501[^\]]*\]\s*\S|noqa:[\sA-Z0-9,]*\bDP501\b)")
_CLIENT: Final = "Use an async client such as httpx.AsyncClient, or `await asyncio.to_thread(...)`"
_INSTEAD: Final = {
    "time.sleep": "Write `await asyncio.sleep(...)`",
    "socket.": _CLIENT,
    "ssl.": _CLIENT,
    "": "Give it to a thread: `await asyncio.to_thread(...)`",
}
_OURS: Final = f"{Path(__file__).parent.parent}{os.sep}"
_LIBRARIES: Final = ("<", *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")))
_handling: Final[ContextVar[str | None]] = ContextVar("diptych_handling", default=None)

Call: TypeAlias = Callable[..., Awaitable[Any]]
_Places: TypeAlias = Sequence[tuple[str, Iterable[str]]]

_installed: list[object] = []  # one for each app that runs in development


def install() -> None:
    """Watch this process, until uninstalled as often as installed. Without `blockbuster` nothing is watched."""
    if not _installed:
        for check in _checks():
            check.activate()
    _installed.append(None)


def uninstall() -> None:
    """Stop watching, unless somebody else wants it."""
    _installed.pop()
    if not _installed:
        for check in _checks():
            check.deactivate()


def watched(call: Call, message: type) -> Call:
    """Return a handler's call as one whose blocking calls are refused while this process is watched."""
    watching = partial(_handle, call, message.__name__)
    vars(watching)["__wrapped__"] = call  # who asks for its name is told the handler's
    return watching


async def _handle(call: Call, name: str, *given: Any, **named: Any) -> Any:
    token = _handling.set(name)
    try:
        return await call(*given, **named)
    finally:
        _handling.reset(token)


@cache
def _checks() -> Sequence[Any]:
    """Return blockbuster's checks, which ask us."""
    try:
        from blockbuster import BlockBuster, BlockBusterFunction
    except ImportError:
        _log.info("blocking calls are not looked for: pip install blockbuster")
        return ()
    chosen = {name: check for name, check in BlockBuster().functions.items() if name.startswith(_WATCHED)}
    chosen |= {name: BlockBusterFunction(None, name) for name in _PROGRAMS}
    for name, check in chosen.items():
        check.can_block_in(*_LOGGING)
        places = tuple(check.can_block_functions)
        check.can_block_predicate = partial(_may_block, name, places, check.can_block_predicate)
    return tuple(chosen.values())


def _may_block(name: str, places: _Places, is_harmless: Callable[..., bool], *given: Any, **named: Any) -> bool:
    """Whether this call may be made. :raises ProgrammingError: a handler makes it, and it blocks."""
    handling = _handling.get()
    if handling is None or is_harmless(*given, **named):
        return True
    frames = _of_handler(sys._getframe(2))  # from whoever called what blockbuster put there
    if not frames or any(_is_at(frame, places) for frame in frames):
        return True
    frame = next((each for each in frames if not each.f_code.co_filename.startswith(_LIBRARIES)), frames[-1])
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    if _IGNORED.search(linecache.getline(frame.f_code.co_filename, frame.f_lineno)):
        return True
    instead = next(advice for start, advice in _INSTEAD.items() if name.startswith(start))
    raise ProgrammingError(
        f"{place} {frame.f_code.co_qualname}: {name} blocks, and while {handling} is handled every other request of "
        f"this process waits for it. {instead} (rule DP501)."
    )


def _of_handler(frame: FrameType | None) -> Sequence[FrameType]:
    """Return the frames from a blocking call out to the handler, or to a task it started; none where we made it."""
    found = []
    while frame is not None and not frame.f_code.co_filename.startswith(_OURS):
        found.append(frame)
        frame = frame.f_back
    return found if frame is None or frame.f_code is _handle.__code__ else ()


def _is_at(frame: FrameType, places: _Places) -> bool:
    file = frame.f_code.co_filename.replace("\\", "/")
    return any(file.endswith(end) and frame.f_code.co_name in callers for end, callers in places)
