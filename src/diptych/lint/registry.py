"""Asks an application what it is made of: imported once, in a process of its own that has ten seconds.

Rule: whatever importing it does, ends with that process; what it prints disturbs nobody.
"""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import Final, NamedTuple, TextIO

from diptych.lint.facts import Facts, facts_of

SECONDS: Final = 10.0


class Fault(NamedTuple):
    """Why nothing is known of it."""

    sentence: str


def ask(command: Sequence[str], folder: Path, seconds: float = SECONDS) -> Facts | Fault:
    """Run what tells the facts: it gets the number of a pipe as its last word, and writes JSON there."""
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as pipe, TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        try:
            process = subprocess.Popen(
                [*command, str(writing)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        try:
            told = _told(process, pipe, seconds)
        finally:
            _end(process)
        if told:
            return facts_of(json.loads(told))
        said.seek(0)
        last = said.read().strip().rpartition("\n")[2].removeprefix("diptych: ")
    if told is None:
        return Fault(f"importing it took longer than {seconds:g} s. Start nothing at import: move it into a function.")
    return Fault(last or f"its process ended with code {process.returncode} and said nothing.")


def _told(process: "subprocess.Popen[bytes]", pipe: TextIO, seconds: float) -> str | None:
    """Return what it wrote until it ended, nothing if it failed; None if it has not ended in time."""
    written: list[str] = []
    reading = Thread(target=lambda: written.append(pipe.read()), daemon=True)  # it may write more than a pipe holds
    reading.start()
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)
        reading.join()
    return written[0] if code == 0 else ""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it and all that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
