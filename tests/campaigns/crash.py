"""A process killed, or its disk or network made to fail, at the k-th call of a kind; then started again and judged.

Rule: a cycle leaves nothing running: the zygote, its child and strace all end with it.
"""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from tests.campaigns.workloads import CHECKS
from tests.postgres import Server

ON_FILES: Final = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink")
ON_SOCKETS: Final = ("sendto", "recvfrom")
KILL: Final = "signal=KILL"
FULL: Final = "error=ENOSPC"
BROKEN: Final = "error=EIO"
CUT: Final = "error=ECONNRESET"

_ROOT = Path(__file__).parents[2]


class Sweep:
    """A zygote and what it was asked to do. Use within `started`."""

    def __init__(self, workload: str, zygote: "subprocess.Popen[str]", server: Server | None) -> None:
        self.workload, self._zygote, self._server = workload, zygote, server
        self._syscalls = ON_FILES if server is None else ON_SOCKETS
        self.cycles = self.killed = 0

    def counts(self) -> dict[str, int]:
        """How often one thread does each of these calls when nobody interferes: the range of k."""
        with tempfile.TemporaryDirectory() as name:
            trace = Path(name) / "trace"
            self._run(Path(name), ["-o", str(trace), "-e", f"trace={','.join(self._syscalls)}"])
            found: dict[tuple[str, str], int] = {}
            for line in trace.read_text().splitlines():
                call = re.match(r"(\d+) +(\w+)\(", line)
                if call:
                    found[call[1], call[2]] = found.get((call[1], call[2]), 0) + 1
        return {name: max((n for (_, call), n in found.items() if call == name), default=0) for name in self._syscalls}

    def cycle(self, syscall: str, k: int, action: str = KILL) -> str:
        """Interfere at the k-th call of any thread, start again, check. Returns what was seen, in a line.

        :raises AssertionError: an invariant is broken; the directory is kept and named.
        """
        directory = Path(tempfile.mkdtemp(prefix="diptych-crash-"))
        inject = f"inject={syscall}:{action}:when={k}"
        status = self._run(directory, ["-o", "/dev/null", "-e", f"trace={syscall}", "-e", inject])
        self.cycles += 1
        self.killed += status == signal.SIGKILL
        try:
            if action != KILL:
                assert status == 0, f"the process ended with wait status {status}: {_last_words(directory)}"
            seen: str = asyncio.run(CHECKS[self.workload](directory))
        except Exception as error:
            error.add_note(f"workload {self.workload}, {action} at {syscall} number {k}; files in {directory}")
            raise
        shutil.rmtree(directory)
        return seen

    def _name_schema(self, directory: Path) -> None:
        """On a server, every run begins without the schema that the last one used."""
        if self._server is not None:
            self._server.query("DROP SCHEMA IF EXISTS crash CASCADE")
            (directory / "url").write_text(self._server.url(schema="crash"))

    def _run(self, directory: Path, options: list[str]) -> int:
        requests, answers = self._zygote.stdin, self._zygote.stdout
        assert requests is not None
        assert answers is not None
        self._name_schema(directory)
        print(self.workload, directory, file=requests, flush=True)
        child = answers.readline().strip()
        with subprocess.Popen(["strace", "-f", "-qq", *options, "-p", child], stderr=subprocess.PIPE) as strace:
            status = int(answers.readline())
            strace.wait(20)
        return status


def _last_words(directory: Path) -> str:
    words = directory / "error"
    return words.read_text() if words.exists() else "it said nothing"


@contextmanager
def started(workload: str, server: Server | None = None) -> Iterator[Sweep]:
    """Start the process that forks the ones to be killed, and end it. They use files, or this server."""
    command = [sys.executable, "-m", "tests.campaigns.crash_child"]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as zygote:
        try:
            yield Sweep(workload, zygote, server)
        finally:
            if zygote.stdin is not None:
                zygote.stdin.close()
            zygote.wait(20)


def points(counts: dict[str, int], random: Random | None = None, share: float = 1.0) -> list[tuple[str, int]]:
    """Every (syscall, k), or a random share of each syscall's, at least two."""
    found: list[tuple[str, int]] = []
    for syscall, count in counts.items():
        every = list(range(1, count + 1))
        chosen = every if random is None else random.sample(every, min(count, max(2, int(count * share))))
        found += [(syscall, k) for k in sorted(chosen)]
    return found
