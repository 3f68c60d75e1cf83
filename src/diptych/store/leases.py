"""Who works on which lane: workers that are alive, the lanes they own by lease, and what is asked of them.

A lane's owner is whoever claimed it last; each claim raises the lane's epoch, and only the writes of the last epoch can
commit (P5). A worker is alive until a moment that it moves on by itself; a lane of one that is not may be claimed by
another. Time is the database's.
Rule: a lease says who may begin; the epoch alone says what may commit.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from diptych.store.batches import Checkpoint
from diptych.store.generations import Generation

_MOMENT: Final = 10_000_000  # microseconds


class Worker(NamedTuple):
    """A process that works on projections. `place` names the process among all of its machine.

    `takes` are the generations that fit its code, by number.
    """

    id: str
    place: str
    takes: frozenset[int]


class LaneRow(NamedTuple):
    """A lane as it is kept. `owner` is a worker's id, or empty; `trouble` says why its owner stopped, or is empty."""

    projection: str
    generation: int
    lane: int
    epoch: int
    checkpoint: Checkpoint
    owner: str
    trouble: str


class Held(NamedTuple):
    """A lane that was claimed. `is_clean`: who had it before let go of it, and did not just end.

    `attempt` is the position of an event that the one before was applying alone when it ended, 0 if none.
    """

    lane: int
    epoch: int
    checkpoint: Checkpoint
    is_clean: bool
    attempt: int


class Pause(NamedTuple):
    """A projection that shall not move, until a moment (microseconds since 1970), or until it is resumed (None)."""

    until: int | None
    reason: str


Verb = Literal["retry", "skip", "rebuild"]
"""What the owner of a lane can be asked. Other words are notes of what was done."""


class Request(NamedTuple):
    """What is asked of a lane's owner, and stays as a record of it. `outcome` is empty until it is done.

    `retry`: try the parked key again (every one if `key` is empty). `skip`: leave the event at `position` out for ever,
    and go on with what waits behind it. `rebuild`: fold the rows of the key again, from all of its events.
    """

    id: int
    projection: str
    generation: int
    lane: int
    verb: str
    key: str
    position: int
    reason: str
    asked_by: str
    asked_at: int
    outcome: str = ""


class Board(NamedTuple):
    """All that steers the workers of a view store, from one snapshot. `now` is the database's clock, microseconds."""

    now: int
    workers: Sequence[Worker]  # those that are alive
    generations: Sequence[Generation]
    lanes: Sequence[LaneRow]
    paused: Mapping[str, Pause]
    requests: Sequence[Request]  # those that are not done

    def is_held(self, projection: str) -> bool:
        """Whether it is paused for a moment only, by a rebuild say: who waits for it may as well go on waiting."""
        pause = self.paused.get(projection)
        return pause is not None and pause.until is not None and pause.until - self.now < _MOMENT


class Leases(Protocol):
    """The workers and lanes of one view store."""

    async def board(self) -> Board:
        """Look, and change nothing."""
        ...

    async def beat(self, worker: Worker, seconds: float, *, dead: Sequence[str] = ()) -> Board:
        """Say that this worker is alive for so many seconds from now, and that those are not; then look."""
        ...

    async def claim(self, worker: str, projection: str, generation: int, lanes: Sequence[int]) -> Sequence[Held]:
        """Take lanes that nobody alive owns, or that this worker owns. Returns those it got, each under a new epoch."""
        ...

    async def release(
        self, worker: str, projection: str, generation: int, lanes: Sequence[int], *, trouble: str | None = None
    ) -> None:
        """Let go of lanes, those of them that this worker still owns; with a `trouble`, say why nobody can go on."""
        ...

    async def leave(self, worker: str) -> None:
        """Let go of every lane, and be no worker any more."""
        ...

    async def mark(
        self, worker: str, projection: str, generation: int, lane: int, *, attempt: int = 0, trouble: str = ""
    ) -> None:
        """Note on a lane of this worker what is tried, or why it stands. A commit to the lane wipes both."""
        ...

    async def ask(
        self, projection: str, verb: Verb, *, key: str = "", position: int = 0, reason: str = "", by: str = ""
    ) -> Sequence[Request]:
        """Ask the owners of the live generation's lanes: of all of them, or of the one that has the parked key.

        A `skip` without a key is for the lanes that stand before the position. Returns one request for each lane.
        """
        ...

    async def ask_generation(
        self, generation: int, verb: Verb, *, key: str = "", position: int = 0, reason: str = "", by: str = ""
    ) -> Sequence[Request]:
        """Ask the owners of the lanes of a generation, one that is built say, as `ask` does those of the live one.

        When a generation is dropped, what is asked of it and not done is answered with that.
        """
        ...

    async def ask_lane(
        self, projection: str, verb: Verb, lane: int, *, key: str, reason: str = "", by: str = ""
    ) -> Sequence[Request]:
        """Ask the owner of one of the live generation's lanes; nothing is returned where it has no such lane."""
        ...

    async def settle(self, request: int, outcome: str) -> None:
        """Note that a request is done, and how."""
        ...

    async def note(self, projection: str, verb: str, *, reason: str, by: str, outcome: str) -> None:
        """Write down something that was done to a projection otherwise: it is among the requests, and done."""
        ...

    async def requests(
        self, projection: str | None = None, *, verb: Verb | None = None, limit: int = 100
    ) -> Sequence[Request]:
        """Return the last requests, done or not, newest first; with a `verb` those of it alone."""
        ...

    async def pause(
        self, projection: str, seconds: float | None, *, reason: str, by: str, yields: bool = False
    ) -> None:
        """From now on it shall not move, for so long, or until `resume`.

        One that `yields` leaves another that lasts as it is, unless that has the same reason.
        """
        ...

    async def resume(self, projection: str, *, reason: str | None = None) -> None:
        """Let it move again; with a `reason`, only if that is why it stands."""
        ...
