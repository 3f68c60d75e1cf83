"""Forks a process in which nothing is imported any more, and waits for its end.

Rule: the parent has no other thread when it forks, and kills all that its child has started.
"""

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def forked(work: Callable[[], bool], seconds: float | None = None, *, quiet: bool = True) -> bool | None:
    """Say what some work returns that is done in a process of its own; None after so many seconds.

    Work that ends with an exception, or ends its process, has said no.
    """
    child = os.fork()
    if child == 0:
        _do(work, quiet=quiet)
    try:
        return _ended(child, seconds)
    finally:
        for group in (child, *_started(child)):
            _kill(group)


def _do(work: Callable[[], bool], *, quiet: bool) -> None:
    status = 1
    try:
        os.setsid()
        if quiet:
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
        status = 0 if work() else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _ended(child: int, seconds: float | None) -> bool | None:
    ends = time.monotonic() + (seconds or float("inf"))
    while time.monotonic() < ends:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status == 0
        time.sleep(0.01)
    _kill(child)
    os.waitpid(child, 0)
    return None


def _started(session: int) -> set[int]:
    """Return the process groups of a session: what a test has started and not ended."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.add(int(fields[2]))
    return found


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def settle_in(folder: Path) -> None:
    """Let this process, and pytest in it, put temporary files into a folder."""
    folder.mkdir(exist_ok=True)
    os.environ |= {"TMPDIR": str(folder), "PYTEST_DEBUG_TEMPROOT": str(folder)}
    tempfile.tempdir = None
