"""How far a consumer of the log has got, as this process knows it; who waits for it, and what stopped it.

Rule: this is knowledge, not truth; the truth is the checkpoints beside the rows.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

State = Literal["starting", "running", "parked", "stopped", "paused", "frozen"]
HALTED: Final[tuple[State, ...]] = ("stopped", "paused", "frozen")
"""In these states it does not move."""
_REMEMBERED: Final = 512  # places, by every consumer


class Place(NamedTuple):
    """Where some lanes are: what was applied or scanned, and the event there."""

    position: int = 0
    recorded_at: int = 0
    event_id: bytes = b""


class Progress:
    """One consumer's place in the log: the least of its lanes, here and in other processes. Of one event loop.

    `position` is what was applied or scanned; `saved` is what is on disk with its rows, so that a snapshot opened now
    is at least that fresh. Both are of one `generation`. `behind_since` is when the oldest event not yet applied was
    recorded (microseconds since 1970), None when there is none known. `heartbeat` is when its loop last turned
    (monotonic seconds): it tells a dead loop from a quiet one.
    """

    def __init__(
        self, name: str, mode: str = "async", tables: tuple[str, ...] = (), event_types: frozenset[str] = frozenset()
    ) -> None:
        self.name, self.mode, self.tables, self.event_types = name, mode, tables, event_types
        self.generation = 0
        self.position = self.saved = self.recorded_at = self.head = 0
        self.event_id = b""
        self.behind_since: int | None = None
        self.state: State = "starting"
        self.error: str | None = None
        self.parked = 0
        self.is_readable = True  # the tables that are read look as this code says
        self.heartbeat = time.monotonic()
        self.wanted: Callable[[], None] = _nobody  # called when somebody begins to wait
        self._here: tuple[Place, int] | None = (Place(), 0)  # of the lanes that this process has
        self._passed: dict[int, bytes] = {}  # ids of events by position, since it last went back
        self._elsewhere: Mapping[int, Place] = {}  # by lane, those of others
        self._said: tuple[State, str | None] = ("starting", None)
        self._ruled: tuple[State, str | None] | None = None
        self._is_expected = False
        self._waiters: list[tuple[int, asyncio.Future[bool]]] = []

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for it: then it writes its place down at once."""
        return bool(self._waiters)

    @property
    def least_wanted(self) -> int:
        """The first position that somebody waits for; 0 when nobody does."""
        return min((position for position, _ in self._waiters), default=0)

    @property
    def is_caught_up(self) -> bool:
        """Whether it had seen everything when it last looked at the end of the log."""
        return self.position >= self.head

    @property
    def elsewhere(self) -> Mapping[int, Place]:
        """The lanes that this process does not have, and where they are as far as it knows."""
        return self._elsewhere

    @property
    def will_not_move(self) -> bool:
        """Whether waiting is in vain."""
        return self.state in HALTED and not self._is_expected

    def beat(self) -> None:
        """Note that the loop turns."""
        self.heartbeat = time.monotonic()

    def advance(self, position: int, recorded_at: int = 0, event_id: bytes = b"") -> None:
        """Note a new place of the lanes here on disk; lets go of everybody who waited for it. Going back is allowed."""
        self.stands(Place(position, recorded_at, event_id), position)

    def stands(self, place: Place, saved: int) -> None:
        """Note where the lanes here are, and what of it is on disk."""
        self._here = (place, saved)
        self._reckon()

    def has_no_lanes(self) -> None:
        """Note that all lanes are other processes'."""
        self._here = None
        self._reckon()

    def hears(self, lanes: Mapping[int, Place]) -> None:
        """Note where the lanes of others are, by lane."""
        self._elsewhere = lanes
        self._reckon()

    def turns_to(self, generation: int) -> None:
        """From now on it is about another generation, of which nothing is known yet."""
        if generation != self.generation:
            self.generation = generation
            self._here, self._elsewhere = (Place(), 0), {}
            self._said = ("starting", None)
            self._reckon()

    def has_passed(self, position: int, event_id: bytes) -> None:
        """Note which event it has applied or scanned at a position."""
        self._passed[position] = event_id
        if len(self._passed) > _REMEMBERED:
            del self._passed[next(iter(self._passed))]

    def passed(self, position: int) -> bytes:
        """Return the id of the event that it has applied or scanned at a position; empty when that is not remembered.

        The places where it stood are remembered, the last few hundred.
        """
        return self._passed.get(position, b"")

    def _reckon(self) -> None:
        place, saved = self._here or (None, 0)
        if self._elsewhere:
            other = min(self._elsewhere.values())
            saved = min(saved, other.position) if place is not None else other.position
            place = min(place, other) if place is not None else other
        if place is None:
            place = Place()
        if place.position < self.position:  # what comes there now may be another event
            self._passed.clear()
        if place.event_id:
            self.has_passed(place.position, place.event_id)
        self.saved, self.position = saved, place.position
        self.recorded_at, self.event_id = place.recorded_at, place.event_id
        if place.position >= self.head:
            self.head, self.behind_since = place.position, None
        if self._waiters:
            self._release()

    def shows(self, state: State, error: str | None = None) -> None:
        """Note how the lanes here are."""
        self._said = (state, error)
        self._show()

    def is_ruled(self, state: State | None, error: str | None = None, *, is_expected: bool = False) -> None:
        """Note what holds for the whole of it, whatever the lanes here do; None: nothing does.

        `is_expected`: it will go on without anybody's doing, being built or waiting for a worker to come back.
        """
        self._ruled, self._is_expected = None if state is None else (state, error), is_expected
        self._show()

    def stop(self, error: str) -> None:
        """Note that the lanes here will not go on by themselves, and tell everybody who waits."""
        self.shows("stopped", error)

    def _show(self) -> None:
        self.state, self.error = self._ruled or self._said
        if self._waiters:
            self._release()

    def lag_seconds(self, now: float | None = None) -> float:
        """Age of the oldest event known and not yet applied; 0.0 when there is none."""
        if self.behind_since is None:
            return 0.0
        return max(0.0, (time.time() if now is None else now) - self.behind_since / 1_000_000)

    async def wait_for(self, position: int, timeout: float) -> bool:
        """Return whether it has this position on disk, as soon as it has, it will not move, or the time is over.

        Rows that other code made and nobody goes on with are waited for in vain, or until they are built again.
        """
        if self._is_there(position):
            return True
        if self.will_not_move or timeout <= 0:
            return False
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiter = (position, turn)
        self._waiters.append(waiter)
        self.wanted()
        try:
            await asyncio.wait((turn,), timeout=timeout)
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        return turn.result() if turn.done() else self._is_there(position)

    def _is_there(self, position: int) -> bool:
        return self.saved >= position and self.state != "frozen"

    def _release(self) -> None:
        still: list[tuple[int, asyncio.Future[bool]]] = []
        for waiter in self._waiters:
            is_there = self._is_there(waiter[0])
            if not is_there and not self.will_not_move:
                still.append(waiter)
            elif not waiter[1].done():
                waiter[1].set_result(is_there)
        self._waiters = still


def _nobody() -> None:
    """Nobody minds."""
