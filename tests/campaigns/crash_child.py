"""The process that gets killed: a zygote that has imported everything forks one child per line it reads.

A child waits until strace holds it, so that every write and sync of the store is counted and none of the imports.
Line in: workload and directory. Lines out: the child's pid, then its wait status.
"""

import ctypes
import os
import sys
import time
import traceback
from pathlib import Path

from diptych.errors import StoreError, UnknownOutcomeError
from tests.campaigns.workloads import WORKLOADS

_SET_PTRACER, _ANY_PROCESS = 0x59616D61, -1


def serve() -> None:
    """Fork for each line until there are no more."""
    for line in sys.stdin:
        name, directory = line.split(maxsplit=1)
        child = os.fork()
        if child == 0:
            _run(name, Path(directory.rstrip("\n")))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def _run(name: str, directory: Path) -> None:
    """Do the work once strace is there, and end without a trace of the parent's clean-up."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(_SET_PTRACER, _ANY_PROCESS, 0, 0, 0)
        deadline = time.monotonic() + 10
        while not _is_traced():
            if time.monotonic() > deadline:
                raise TimeoutError("strace did not come")
            time.sleep(0.0005)
        WORKLOADS[name](directory)
        status = 0
    except (StoreError, UnknownOutcomeError):
        status = 0  # the disk failed and the store said so
    except BaseException:
        (directory / "error").write_text(traceback.format_exc())
    finally:
        os._exit(status)


def _is_traced() -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    return any(line.startswith("TracerPid:") and not line.endswith("\t0") for line in lines)


if __name__ == "__main__":
    serve()
