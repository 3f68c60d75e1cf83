"""A small HTTP client: one connection that is kept, JSON out, JSON in. The demonstration needs no other."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said: its status, its headers with lower-case names, and its body."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def is_success(self) -> bool:
        """Whether it was done."""
        return self.status < 300


class Client:
    """One connection to the service, for one player: requests go one after the other."""

    def __init__(self, host: str, port: int, user: str) -> None:
        self._host, self._port, self._user = host, port, user

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def send(self, method: str, path: str, body: object = None, *, after: str | None = None) -> Answer:
        """Send a request and read its answer. `after` is the Diptych-Position that the answer must have seen."""
        content = b"" if body is None else json.dumps(body, default=_plain).encode()
        lines = [
            f"{method} /api/v1{path} HTTP/1.1",
            f"Host: {self._host}:{self._port}",
            f"X-User-Id: {self._user}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
        ]
        if after is not None:
            lines.append(f"Diptych-After: {after}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await self._writer.drain()
        return await self._answer()

    async def _answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        content = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(head[0].split()[1]), headers, json.loads(content) if content else None)


def _plain(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{value!r} is no JSON")
