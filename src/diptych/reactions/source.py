"""Where messages of other systems come from: a broker, behind four methods.

Rule: a source knows nothing of commands; it forgets a message only when it is told that it is done.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class Incoming(NamedTuple):
    """A message as it came. `id` is what the broker knows it by, or empty; `place` is where it came from."""

    id: str
    place: str
    raw: bytes
    handle: Any = None  # the source's own


class Source(Protocol):
    """Hands messages out until they are done."""

    async def open(self) -> None:
        """Get ready, for the first time or after `close`. A broker that is away is no error yet."""
        ...

    async def close(self) -> None:
        """Let go of everything. What is not done is handed out again, here or elsewhere."""
        ...

    async def fetch(self, most: int, seconds: float) -> Sequence[Incoming]:
        """Return up to so many messages, as soon as there is one; none after so long.

        :raises PublishError: the broker is away.
        """
        ...

    async def done(self, incoming: Incoming) -> None:
        """Have a message not come again. :raises PublishError: the broker is away, and it may."""
        ...


class MemorySource:
    """Hands out what is put into a list; what was fetched and is not done comes again after `lose`."""

    def __init__(self) -> None:
        self._waiting: list[Incoming] = []
        self._out: list[Incoming] = []
        self.acknowledged = 0

    def put(self, raw: bytes, id: str = "") -> None:
        """Have a message come."""
        self._waiting.append(Incoming(id, "memory", raw))

    def lose(self) -> None:
        """Forget who has what: all that is not done comes again, in its order."""
        self._waiting, self._out = [*self._out, *self._waiting], []

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Have what is not done come again."""
        self.lose()

    async def fetch(self, most: int, seconds: float) -> Sequence[Incoming]:
        """Return the next messages."""
        if not self._waiting:
            await asyncio.sleep(min(seconds, 0.01))
        found, self._waiting = self._waiting[:most], self._waiting[most:]
        self._out.extend(found)
        return found

    async def done(self, incoming: Incoming) -> None:
        """Forget it."""
        if incoming in self._out:
            self._out.remove(incoming)
            self.acknowledged += 1
