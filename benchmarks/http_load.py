"""A load generator in a process of its own: raw HTTP/1.1 over keep-alive connections, so that it is not measured.

`python -m benchmarks.http_load HOST PORT CONNECTIONS` reads one JSON line of requests and answers with one of figures.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks.children import say

_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection: sends the next request when the answer to the last is complete."""

    def __init__(self, requests: Iterator[bytes], statuses: Counter[int], taken: list[float]) -> None:
        self._requests, self._statuses, self._taken = requests, statuses, taken
        self._buffer = b""
        self._begun = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._begun = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect until the body is as long as its head says."""
        self._buffer += data
        end = self._buffer.find(_END)
        if end < 0:
            return
        head = self._buffer[:end].lower()
        start = head.index(b"content-length:") + 15
        stop = head.find(b"\r\n", start)
        length = int(head[start : stop if stop > 0 else len(head)])
        if len(self._buffer) < end + 4 + length:
            return
        self._taken.append(time.perf_counter() - self._begun)
        self._statuses[int(head[9:12])] += 1
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        """End, well or not."""
        if not self.done.done():
            if error:
                self.done.set_exception(error)
            else:
                self.done.set_result(None)


async def run(host: str, port: int, connections: int, requests: list[bytes]) -> dict[str, Any]:
    """Send all requests and return requests per second, the statuses, and p50 and p99 in milliseconds."""
    loop = asyncio.get_running_loop()
    left = iter(requests)
    statuses: Counter[int] = Counter()
    taken: list[float] = []
    begun = time.perf_counter()
    made = await asyncio.gather(
        *(loop.create_connection(lambda: Connection(left, statuses, taken), host, port) for _ in range(connections))
    )
    await asyncio.gather(*(connection.done for _, connection in made))
    seconds = time.perf_counter() - begun
    taken.sort()
    return {
        "requests": len(taken) / seconds,
        "statuses": dict(statuses),
        "p50": taken[len(taken) // 2] * 1000,
        "p99": taken[int(len(taken) * 0.99)] * 1000,
    }


def request(method: str, path: str, body: str = "") -> str:
    """Return one request as text."""
    length = f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{length}\r\n{body}"


def main() -> None:
    """Send what the parent wants sent, as often as it wants."""
    host, port, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    say("ready")
    for line in sys.stdin:
        say(asyncio.run(run(host, port, connections, [each.encode() for each in json.loads(line)])))


if __name__ == "__main__":
    main()
