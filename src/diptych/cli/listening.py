"""Running uvicorn as `uvicorn.run` does, but for the socket that several processes share.

Rule: imported only where something is served, for uvicorn may not be installed.
"""

import socket
from contextlib import suppress
from typing import Final

import uvicorn
from uvicorn.supervisors import ChangeReload, Multiprocess

START_FAILED: Final = 3  # how uvicorn exits then


def run(config: uvicorn.Config) -> None:
    """Serve until interrupted."""
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        if config.should_reload:
            ChangeReload(config, target=server.run, sockets=[listening(config)]).run()
        elif config.workers > 1:
            several = Multiprocess(config, sockets=[listening(config)])
            several.run()
            if any(each.exitcode == START_FAILED for each in several.processes):
                raise SystemExit(START_FAILED)
        else:
            server.run()
            if not server.started:
                raise SystemExit(START_FAILED)


def listening(config: uvicorn.Config) -> socket.socket:
    """Return the socket to listen on, whose connections send at once what is written to them.

    asyncio sees to that only where it makes the socket itself; without it the second half of each answer waits 40 ms.
    """
    bound = config.bind_socket()
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound
