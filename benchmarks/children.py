"""Work in a second process: started by name, spoken to in lines, ended by closing its input."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any


@asynccontextmanager
async def child(module: str, *arguments: object) -> AsyncIterator[Process]:
    """Run `python -m module` until the block ends, from the moment it has said `ready`."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=_environment())
    try:
        ready = await heard(process)
        if ready != "ready":
            raise RuntimeError(f"{module} said {ready!r} instead of 'ready'")
        yield process
    finally:
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}")


def _environment() -> dict[str, str]:
    """Let a child find this package, wherever it was started."""
    found = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))}


async def heard(process: Process) -> Any:
    """Return the next line a child wrote, read as JSON."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError(f"a child process ended with {await process.wait()}")
    return json.loads(line)


def tell(process: Process, message: object) -> None:
    """Write a line to a child; `told` returns it there."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")


async def told() -> AsyncIterator[Any]:
    """In a child: yield what the parent says, line by line, until it closes our input: the sign to end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**30)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def say(message: object) -> None:
    """Write a line to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def parent_is_gone() -> None:
    """Return when the parent closes our input."""
    async for _ in told():
        pass
