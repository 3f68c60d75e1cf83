"""Runs the API with uvicorn inside this process, on a free local port."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI

HOST: Final = "127.0.0.1"
USUAL_PORT: Final = 8000
_IDLE: Final = 3600  # seconds; a player may think for longer than the five that uvicorn keeps a quiet connection


class PortTakenError(Exception):
    """Somebody else listens there; the text says what to do."""


class _Server(uvicorn.Server):
    """Leaves the signals to the demonstration, which has a summary to print first. Tells when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, the lifespan first."""
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def serving(api: FastAPI, port: int | None) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port. :raises PortTakenError: the port asked for is not free."""
    listening = _listen(port)
    config = uvicorn.Config(
        api, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=2, timeout_keep_alive=_IDLE
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listening]), name="uvicorn")
        try:
            await server.up.wait()
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True


def _listen(port: int | None) -> socket.socket:
    wanted = (USUAL_PORT, 0) if port is None else (port,)
    for number in wanted:
        try:
            return socket.create_server((HOST, number))
        except OSError as error:
            failed = error
    raise PortTakenError(f"Port {port} cannot be used: {failed.strerror}. Give another with --port, or none.")
