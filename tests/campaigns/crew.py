"""Processes that work on the projections of one store, and what can be done to them: stop, wake, kill, replace.

They are forked from a server that has imported everything, so that one starts in milliseconds, and end with it.
"""

import asyncio
import ctypes
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import anyio

from diptych.store.leases import Board, Worker

PATIENCE: Final = 60.0  # seconds until what does not happen is a failure
_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [f"tests.campaigns.{name}" for name in ("labours", "poison", "fulfilment", "fulfilling")],
)
_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG


class Crew:
    """So many processes that do one thing, each in its turn replaced when it was ended."""

    def __init__(self, task: Callable[..., None], *arguments: Any) -> None:
        self._task, self._arguments = task, arguments
        self._running: list[BaseProcess] = []

    def start(self, *arguments: Any) -> int:
        """Start one more, with other arguments than the rest if some are given; returns its process id."""
        process = _CONTEXT.Process(target=_run, args=(self._task, arguments or self._arguments), daemon=True)
        process.start()
        assert process.pid is not None
        self._running.append(process)
        return process.pid

    def stop(self, pid: int) -> None:
        """Have it stand still, whatever it is doing."""
        os.kill(pid, signal.SIGSTOP)

    def wake(self, pid: int) -> None:
        """Have it go on as if no time had passed."""
        os.kill(pid, signal.SIGCONT)

    def kill(self, pid: int) -> None:
        """End it without warning."""
        process = self._process(pid)
        process.kill()
        process.join(PATIENCE)

    async def ended(self, pid: int) -> int:
        """Return its exit code, once it has ended."""
        process = self._process(pid)
        with anyio.fail_after(PATIENCE):
            while process.exitcode is None:  # noqa: ASYNC110 - it is looked at, not told
                await asyncio.sleep(0.005)
        self._running.remove(process)
        return process.exitcode

    @property
    def pids(self) -> list[int]:
        """Those that run."""
        return [one.pid for one in self._running if one.pid is not None and one.is_alive()]

    def remove(self) -> None:
        """End all of them."""
        for process in self._running:
            process.kill()
        for process in self._running:
            process.join(PATIENCE)
        self._running.clear()

    def _process(self, pid: int) -> BaseProcess:
        return next(one for one in self._running if one.pid == pid)


@contextmanager
def crew(workers: int, task: Callable[..., None], *arguments: Any) -> Iterator[Crew]:
    """So many processes, ended at the end."""
    made = Crew(task, *arguments)
    try:
        for _ in range(workers):
            made.start()
        yield made
    finally:
        made.remove()


def _run(task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Do it, and end with the server, which ends with the campaign: but not while one of us holds this descriptor."""
    ctypes.CDLL(None).prctl(_WITH_PARENT, signal.SIGKILL)
    os.close(vars(forkserver)["_forkserver"]._forkserver_alive_fd)
    logging.getLogger("diptych").addHandler(logging.NullHandler())  # what is wrong is wrong on purpose
    task(*arguments)


def pid_of(worker: Worker) -> int:
    """The process of a worker that says where it is."""
    return int(worker.place.rpartition(" ")[2])


def is_stopped(pid: int) -> bool:
    """Whether it stands still."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def owned(board: Board, worker: str) -> list[tuple[str, int]]:
    """Which lanes a worker has, by projection."""
    return [(row.projection, row.lane) for row in board.lanes if row.owner == worker]


class Ledger:
    """What was seen of lanes: epochs only rise, places only grow, and an owner never changes within an epoch (P5)."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int, int], tuple[int, int, str]] = {}
        self.claims = 0  # how many changes of an epoch were seen

    def saw(self, board: Board) -> None:
        """Compare with what was seen before. :raises AssertionError:"""
        for row in board.lanes:
            key, now = (row.projection, row.generation, row.lane), (row.epoch, row.checkpoint.position, row.owner)
            epoch, position, owner = self._seen.get(key, (0, 0, ""))
            assert row.epoch >= epoch, f"{key}: epoch {row.epoch} after {epoch} (P5)"
            assert row.checkpoint.position >= position, f"{key}: went back to {row.checkpoint} from {position} (P1)"
            if row.epoch == epoch:
                assert row.owner in (owner, ""), f"{key}: {row.owner} after {owner} in epoch {epoch} (P5)"
            else:
                self.claims += 1
            self._seen[key] = now
