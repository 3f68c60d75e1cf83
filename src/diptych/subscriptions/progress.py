"""How far a consumer of the log has got, as this process knows it; who waits for it, and what stopped it.

Rule: this is knowledge, not truth; the truth is the checkpoint beside the rows.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Literal

State = Literal["starting", "running", "parked", "stopped"]


class Progress:
    """One consumer's place in the log. Belongs to one event loop.

    `position` is what was applied or scanned; `saved` is what is on disk with its rows, so that a snapshot opened now
    is at least that fresh. `behind_since` is when the oldest event not yet applied was recorded (microseconds since
    1970), None when there is none known. `heartbeat` is when its loop last turned (monotonic seconds): it tells a dead
    loop from a quiet one.
    """

    def __init__(
        self, name: str, mode: str = "async", tables: tuple[str, ...] = (), event_types: frozenset[str] = frozenset()
    ) -> None:
        self.name, self.mode, self.tables, self.event_types = name, mode, tables, event_types
        self.position = 0
        self.saved = 0
        self.recorded_at = 0
        self.event_id = b""
        self.head = 0
        self.behind_since: int | None = None
        self.state: State = "starting"
        self.error: str | None = None
        self.parked = 0
        self.heartbeat = time.monotonic()
        self.wanted: Callable[[], None] = _nobody  # called when somebody begins to wait
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for it: then it writes its place down at once."""
        return bool(self._waiters)

    @property
    def is_caught_up(self) -> bool:
        """Whether it had seen everything when it last looked at the end of the log."""
        return self.position >= self.head

    def beat(self) -> None:
        """Note that the loop turns."""
        self.heartbeat = time.monotonic()

    def saw(self, position: int, recorded_at: int = 0, event_id: bytes = b"") -> None:
        """Note a new place that is not on disk: nothing of interest lies between it and `saved`."""
        self.position = position
        if event_id:
            self.recorded_at, self.event_id = recorded_at, event_id
        if position >= self.head:
            self.head, self.behind_since = position, None

    def advance(self, position: int, recorded_at: int = 0, event_id: bytes = b"") -> None:
        """Note a new place on disk; lets go of everybody who waited for it. Going back (a rebuild) is allowed."""
        self.saved = position
        self.saw(position, recorded_at, event_id)
        if self._waiters:
            self._release()

    def stop(self, error: str) -> None:
        """Note that it will not go on by itself, and tell everybody who waits."""
        self.state, self.error = "stopped", error
        self._release()

    def lag_seconds(self, now: float | None = None) -> float:
        """Age of the oldest event known and not yet applied; 0.0 when there is none."""
        if self.behind_since is None:
            return 0.0
        return max(0.0, (time.time() if now is None else now) - self.behind_since / 1_000_000)

    async def wait_for(self, position: int, timeout: float) -> bool:
        """Return whether it has this position on disk, as soon as it has, it is stopped, or the time is over."""
        if self.saved >= position:
            return True
        if self.state == "stopped" or timeout <= 0:
            return False
        turn = asyncio.get_running_loop().create_future()
        waiter = (position, turn)
        self._waiters.append(waiter)
        self.wanted()
        try:
            await asyncio.wait((turn,), timeout=timeout)
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        return self.saved >= position

    def _release(self) -> None:
        still: list[tuple[int, asyncio.Future[None]]] = []
        for waiter in self._waiters:
            if self.saved >= waiter[0] or self.state == "stopped":
                if not waiter[1].done():
                    waiter[1].set_result(None)
            else:
                still.append(waiter)
        self._waiters = still


def _nobody() -> None:
    """Nobody minds."""
