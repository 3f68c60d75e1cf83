"""Processes that build lanes of a projection for a rebuild.

Rule: each ends with whoever started it, however that ends, and keeps what it built; the first that fails ends them all.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from diptych.app.operating import operating
from diptych.cli.discovery import Found, find
from diptych.errors import BuildStoppedError
from diptych.projections.backfill import Backfill
from diptych.projections.rebuilding import Jobs, in_halves
from diptych.store.generations import Generation

_NICE: Final = 10  # to the service beside it
_ENDING: Final = 10.0  # seconds that one has to finish its batch and let go of its lanes


def in_processes(found: Found, name: str, jobs: int) -> Jobs:
    """Return what builds lanes in so many processes."""

    async def run(generation: Generation, upto: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for lanes in in_halves(generation.lanes, jobs):
                    group.create_task(_build(found, name, generation.number, lanes, upto))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    return run


async def _build(found: Found, name: str, generation: int, lanes: Sequence[int], upto: int) -> None:
    process = await _start(found, name, generation, lanes, upto)
    assert process.stderr is not None
    try:
        said = (await process.stderr.read()).decode(errors="replace")
        code = await process.wait()
    finally:
        await _end(process)
    if code:
        last = said.strip().rpartition("\n")[2].removeprefix("diptych: ")
        raise BuildStoppedError(name, last or f"a process that built lanes of it ended with code {code}.")


async def _start(found: Found, name: str, generation: int, lanes: Sequence[int], upto: int) -> Process:
    words = ["projection", "build", name, "--generation", str(generation)]
    words += ["--lanes", ",".join(map(str, lanes)), "--upto", str(upto)]
    command = (sys.executable, "-m", "diptych.cli", *words, "--app", found.target.spelt)
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=DEVNULL, stderr=PIPE)


async def _end(process: Process) -> None:
    """Have it end: it sees that its input is closed."""
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_ENDING):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def build(said: str | None, name: str, generation: int, lanes: Sequence[int], upto: int) -> None:
    """Build some lanes in this process, up to a position, or until its input is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it is interrupted too, and says when to end
    with suppress(OSError):
        os.nice(_NICE)
    app = find(said).app

    async def run() -> None:
        async with operating(app, name) as operator, Backfill(operator.subject, generation) as backfill:
            working = asyncio.create_task(_work(backfill, lanes, upto))
            watching = asyncio.create_task(_input_is_closed())
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
            for task in (working, watching):
                task.cancel()
            await asyncio.wait((working, watching))
            if not working.cancelled():
                working.result()

    asyncio.run(run())


async def _work(backfill: Backfill, lanes: Sequence[int], upto: int) -> None:
    await backfill.take(lanes)
    await backfill.build(upto)


async def _input_is_closed() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
