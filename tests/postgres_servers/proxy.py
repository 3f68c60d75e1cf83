"""A TCP proxy in front of PostgreSQL that stalls, cuts, half-opens, delays, loses answers, and drops NOTIFY.

Rule: it changes no byte that it lets through.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.postgres import Server

_CHUNK: Final = 64 * 1024
_ENCRYPTION: Final = (80877103, 80877104)  # SSLRequest, GSSENCRequest: "no" is answered for the server
_NOTIFICATION: Final = b"A"
_LOST: Final = (ConnectionError, asyncio.IncompleteReadError, OSError)


class Proxy:
    """Each of its faults holds for all connections, or for those that said the `mark` (such as a function's name)."""

    def __init__(self, port: int, *, mark: bytes = b"", drops_notifications: bool = False) -> None:
        self.server_port = port  # where new connections go
        self.mark, self.drops_notifications = mark, drops_notifications
        self.delay = 0.0  # seconds that every piece waits, in each direction
        self.is_refusing = False  # new connections are cut at once
        self.loses_answers = False  # what the server says next is lost, and the connection with it
        self.dropped = self.lost = 0  # how many notifications and answers
        self.links: set[Link] = set()
        self.flows = asyncio.Event()
        self.flows.set()
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def url(self, *, schema: str = "diptych", options: str = "") -> str:
        """The URL of a schema behind it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?schema={schema}{options}"

    def stall(self) -> None:
        """Let nothing through, in no direction, and cut nothing; what is sent waits."""
        self.flows.clear()

    def resume(self) -> None:
        """Let everything through again."""
        self.is_refusing = self.loses_answers = False
        self.flows.set()

    def cut(self) -> int:
        """Reset every connection on both sides; return how many. New ones are let through."""
        cut = list(self.links)
        for link in cut:
            link.cut()
        return len(cut)

    def half_open(self) -> None:
        """Close every connection to the server, tell its client nothing, and swallow what it sends."""
        for link in self.links:
            link.half_open()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK)

    async def close(self) -> None:
        """Cut everything and stop listening."""
        assert self._server is not None
        self._server.close()
        self.cut()
        for handler in list(self._handlers):
            handler.cancel()
            await asyncio.wait([handler])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        link = Link(self, reader, writer)
        self.links.add(link)
        try:
            await link.run()
        except _LOST:
            pass
        finally:
            self.links.discard(link)
            link.cut()


class Link:
    """One client's connection and the one to the server that was opened for it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._from_client, self._to_client = proxy, reader, writer
        self._to_server: asyncio.StreamWriter | None = None
        self._is_marked, self._is_half_open = not proxy.mark, False

    async def run(self) -> None:
        """Carry bytes until either side ends."""
        if self._proxy.is_refusing:
            return
        first = await self._first_message()
        await self._proxy.flows.wait()
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._proxy.server_port, limit=_CHUNK)
        self._to_server = to_server
        to_server.write(first)
        sides = [asyncio.create_task(self._ask()), asyncio.create_task(self._answer(from_server))]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            if self._is_half_open:
                await sides[0]
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    def cut(self) -> None:
        """Reset both sides."""
        _reset(self._to_client)
        if self._to_server is not None:
            _reset(self._to_server)

    def half_open(self) -> None:
        """Reset the server's side only."""
        self._is_half_open = True
        if self._to_server is not None:
            _reset(self._to_server)

    async def _first_message(self) -> bytes:
        while True:
            head = await self._from_client.readexactly(8)
            length, code = struct.unpack("!ii", head)
            if code not in _ENCRYPTION:
                return head + await self._from_client.readexactly(length - 8)
            self._to_client.write(b"N")

    async def _ask(self) -> None:
        """From the client to the server."""
        assert self._to_server is not None
        while piece := await self._from_client.read(_CHUNK):
            self._is_marked = self._is_marked or self._proxy.mark in piece
            await self._hold()
            if not self._is_half_open:
                self._to_server.write(piece)
                with suppress(*_LOST):
                    await self._to_server.drain()

    async def _answer(self, server: asyncio.StreamReader) -> None:
        """From the server to the client."""
        while piece := await self._piece(server):
            await self._hold()
            if self._is_half_open:
                return
            if self._proxy.loses_answers and self._is_marked:
                self._proxy.lost += 1
                return
            self._to_client.write(piece)
            await self._to_client.drain()

    async def _piece(self, server: asyncio.StreamReader) -> bytes:
        """Whatever comes; or message by message, where notifications are dropped."""
        if not self._proxy.drops_notifications:
            return await server.read(_CHUNK)
        while True:
            head = await server.readexactly(5)
            kind, length = struct.unpack("!ci", head)
            message = head + await server.readexactly(length - 4)
            if kind != _NOTIFICATION:
                return message
            self._proxy.dropped += 1

    async def _hold(self) -> None:
        if self._proxy.delay:
            await asyncio.sleep(self._proxy.delay)
        await self._proxy.flows.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    end = writer.get_extra_info("socket")
    if end is not None and not writer.transport.is_closing():
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxied(server: Server, *, mark: bytes = b"", drops_notifications: bool = False) -> AsyncIterator[Proxy]:
    """A running proxy in front of a server."""
    proxy = Proxy(server.port, mark=mark, drops_notifications=drops_notifications)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
