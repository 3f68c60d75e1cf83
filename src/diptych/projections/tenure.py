"""By what right a process works on the lanes of a generation: a lease, or none for those that appends fold too.

Rule: only the epoch decides what is written; nothing here does.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from diptych.store.leases import Held, Leases
from diptych.store.protocols import ViewStore


class Tenure(Protocol):
    """Taking lanes of one generation, letting go of them, and saying what is done with them."""

    async def claim(self, lanes: Collection[int]) -> Sequence[Held]:
        """Take these lanes; returns those that were to be had."""
        ...

    async def release(self, lanes: Collection[int], trouble: str | None = None) -> None:
        """Let go of them; `trouble` says why nobody can go on with them."""
        ...

    async def mark(self, lane: int, *, attempt: int = 0, trouble: str = "") -> None:
        """Note what is tried, or why a lane stands."""
        ...

    async def settle(self, request: int, outcome: str) -> None:
        """Note that a request is done, and how."""
        ...


class Leased:
    """The lanes that a worker owns."""

    def __init__(self, leases: Leases, worker: str, projection: str, generation: int) -> None:
        self._leases, self._worker, self._of = leases, worker, (projection, generation)

    async def claim(self, lanes: Collection[int]) -> Sequence[Held]:
        """Take these lanes; returns those that were to be had."""
        return await self._leases.claim(self._worker, *self._of, sorted(lanes))

    async def release(self, lanes: Collection[int], trouble: str | None = None) -> None:
        """Let go of them; `trouble` says why nobody can go on with them."""
        await self._leases.release(self._worker, *self._of, sorted(lanes), trouble=trouble)

    async def mark(self, lane: int, *, attempt: int = 0, trouble: str = "") -> None:
        """Note what is tried, or why a lane stands."""
        await self._leases.mark(self._worker, *self._of, lane, attempt=attempt, trouble=trouble)

    async def settle(self, request: int, outcome: str) -> None:
        """Note that a request is done, and how."""
        await self._leases.settle(request, outcome)


class Unleased:
    """Lanes that are everybody's: whoever commits first moves them, and the others look again."""

    def __init__(self, views: ViewStore, projection: str, generation: int) -> None:
        self._views, self._of = views, (projection, generation)

    async def claim(self, lanes: Collection[int]) -> Sequence[Held]:
        """Look where these lanes are."""
        places = await self._views.places(*self._of)
        return [Held(lane, at.epoch, at, True, 0) for lane, at in enumerate(places) if lane in lanes]

    async def release(self, lanes: Collection[int], trouble: str | None = None) -> None:
        """Do nothing: nobody had them."""

    async def mark(self, lane: int, *, attempt: int = 0, trouble: str = "") -> None:
        """Do nothing: it would be a note on what is somebody else's too."""

    async def settle(self, request: int, outcome: str) -> None:
        """Note that a request is done, and how."""
        await self._views.leases.settle(request, outcome)
