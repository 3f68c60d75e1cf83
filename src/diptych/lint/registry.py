"""Asks a process of its own what an application is made of: it imports what may print, hang, fork or exit.

Rule: what happens there ends there. The process and all its children are gone when `inspect` returns.
"""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import TypeAdapter

import diptych
from diptych.lint.facts import Facts, Fault

LIMIT: Final = 10.0  # seconds
_POLL: Final = 0.05
_PROGRAM: Final = "diptych.cli.inspecting"  # a program of the command line, which knows where an app is found


class _Told(NamedTuple):
    """What goes through the pipe: one of the two."""

    facts: Facts | None
    fault: Fault | None


_adapter: Final = TypeAdapter(_Told)


def inspect(target: str | None, root: Path, *, limit: float = LIMIT) -> Facts | Fault:
    """Import an app, named as on the command line or else looked for in `root`, and say what it is made of."""
    reading, writing = os.pipe()
    try:
        line = [sys.executable, "-B", "-m", _PROGRAM, str(writing), *([target] if target else [])]
        with subprocess.Popen(
            line,
            cwd=root,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(writing,),
            start_new_session=True,
        ) as process:
            os.close(writing)
            writing = -1
            try:
                told = _read(reading, process, limit)
            finally:
                _end(process)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    return _understood(told, process.returncode, target, limit)


def to_line(facts: Facts | Fault) -> bytes:
    """Return facts as one line of JSON, which `inspect` reads."""
    told = _Told(facts, None) if isinstance(facts, Facts) else _Told(None, facts)
    return _adapter.dump_json(told) + b"\n"


def _read(pipe: int, process: "subprocess.Popen[bytes]", limit: float) -> bytes:
    """Read one line. A child that the app left behind may hold the pipe open, so its end is not waited for."""
    told, deadline = bytearray(), time.monotonic() + limit
    while not told.endswith(b"\n") and time.monotonic() < deadline:
        has_ended = process.poll() is not None
        if select.select([pipe], [], [], 0 if has_ended else _POLL)[0]:
            part = os.read(pipe, 1 << 16)
            if not part:
                break
            told += part
        elif has_ended:
            break
    return bytes(told)


def _understood(line: bytes, ended: int, target: str | None, limit: float) -> Facts | Fault:
    what = target or "the app"
    if not line.endswith(b"\n"):
        if ended == -signal.SIGKILL:
            return Fault(f"{what} was not imported within {limit:g} s. Start nothing and wait for nothing at import.")
        return Fault(f"The process ended with {ended} while {what} was imported. Exit in `main()`, not at import.")
    told = _adapter.validate_json(line)
    return told.facts or told.fault or Fault(f"{what} told nothing of itself.")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and its children. Where it ended by itself, its group may still have some."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> dict[str, str]:
    """The environment, with this very Diptych among what can be imported."""
    here = str(Path(diptych.__file__).parent.parent)
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{known}" if known else here}
