"""Where a worker runs: enough to tell, on the same machine, that its process has ended.

Rule: only Linux says so; anywhere else a worker is missed when its lease is over.
"""

import os
from pathlib import Path
from typing import Final

from diptych.store.leases import Worker

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE: Final = Path("/proc/self/ns/pid")
_ENDED: Final = ("Z", "X")  # a zombie has ended too: its parent has only not looked yet

_here: set[str] = set()  # the workers of this process that have begun and not left


def comes(worker: str) -> None:
    """Note that this process has a worker of this id."""
    _here.add(worker)


def goes(worker: str) -> None:
    """Note that a worker of this process is none any more."""
    _here.discard(worker)


def this_place() -> str:
    """Return the name of this process among all of its machine since it was started; empty if that cannot be told."""
    machine = _machine()
    return f"{machine} {os.getpid()}" if machine else ""


def has_ended(worker: Worker) -> bool:
    """Whether this worker is known to be gone: it was of this machine, and its process is no more, or is ours now."""
    machine, _, pid = worker.place.rpartition(" ")
    if not machine or machine != _machine() or not pid.isdigit() or worker.id in _here:
        return False
    return int(pid) == os.getpid() or not _is_running(int(pid))


def where(worker: Worker) -> str:
    """Say where a worker runs, as far as it can be told from here."""
    machine, _, pid = worker.place.rpartition(" ")
    if not machine:
        return "another process"
    return f"process {pid} of this machine" if machine == _machine() else f"process {pid} of another machine"


def _machine() -> str:
    try:
        return f"{_BOOT.read_text().strip()} {os.readlink(_NAMESPACE)}"
    except OSError:
        return ""


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in _ENDED
    except (FileNotFoundError, ProcessLookupError):
        return False
    except (OSError, IndexError):
        return True
