"""Reading your own write: which projections a read waits for, how long, and what it says when it was in vain."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, NamedTuple

from diptych.errors import OtherHistoryError, ProgrammingError, StaleReadError
from diptych.messages import Receipt
from diptych.store.protocols import ViewStore
from diptych.stream import read_token, token
from diptych.subscriptions.progress import Progress

Reason = Literal["behind", "parked", "stopped", "paused", "frozen"]


class Wanted(NamedTuple):
    """The place in the log that a read must have seen, and the random half of the id of the event there.

    Without event types, every projection must have. A command that recorded nothing has none: what it decided on may
    be anybody's event.
    """

    position: int
    event_types: frozenset[str] | None = None
    tail: bytes = b""

    @classmethod
    def of(cls, after: Receipt[Any] | str) -> "Wanted":
        """Read a receipt or a token.

        :raises InvalidInputError: the token is none of ours. :raises ProgrammingError: it is neither.
        """
        if isinstance(after, Receipt):
            return cls(after.position, after.event_types or None, after.event_id[8:])
        if not isinstance(after, str):
            raise ProgrammingError(f"after={after!r} is no place in the log. Give a command's receipt, or its token.")
        position, tail = read_token(after)
        return cls(position, tail=tail)

    def concerns(self, progress: Progress) -> bool:
        """Whether this projection handles any of the events that are waited for."""
        return self.event_types is None or not progress.event_types.isdisjoint(self.event_types)

    def is_known_to(self, among: Iterable[Progress]) -> bool:
        """Whether one of these projections remembers to have passed this very event, as it does of most."""
        return any(progress.passed(self.position)[8:] == self.tail for progress in among)

    async def check(self, among: Iterable[Progress], id_at: Callable[[int], Awaitable[bytes]]) -> None:
        """See in the log, by `id_at`, that the event that is waited for is there; once for a token, as a rule (R1).

        :raises OtherHistoryError: another one is, or none.
        """
        passed = next(filter(self.concerns, among), None)
        if passed is None or not self.position or not any(self.tail):  # whoever gave it did not know which event
            return
        event_id = await id_at(self.position)
        if event_id[8:] != self.tail:
            raise OtherHistoryError(f"The token {token(self.position, bytes(8) + self.tail)}", self.position)
        passed.has_passed(self.position, event_id)


class Waited(NamedTuple):
    """How a wait ended: no reason means fresh."""

    reason: Reason | None
    projections: tuple[str, ...]
    seconds: float

    def or_raise(self) -> None:
        """:raises StaleReadError: it was in vain."""
        if self.reason is not None:
            raise StaleReadError(self.projections, self.reason, self.seconds)


async def wait(wanted: Wanted, among: Iterable[Progress], views: ViewStore, seconds: float) -> Waited:
    """Return when all these projections have applied what is wanted, or one will not move, or the time is over."""
    start = time.monotonic()
    concerned = [progress for progress in among if wanted.concerns(progress)]
    late = [progress for progress in concerned if progress.position < wanted.position]
    if late:
        arrived = await asyncio.gather(*(progress.wait_for(wanted.position, seconds) for progress in late))
        late = [progress for progress, is_there in zip(late, arrived, strict=True) if not is_there]
    waited = time.monotonic() - start
    if late:
        return Waited(_why(late), tuple(progress.name for progress in late), waited)
    for progress in concerned:
        may_be_parked = progress.parked or progress.elsewhere  # what others have parked is known to the store alone
        if may_be_parked and any(e.position == wanted.position for e in await views.parked(progress.name)):
            return Waited("parked", (progress.name,), waited)
    if concerned and views.reads_a_copy and not await views.is_copied(max(0.0, seconds - waited)):
        return Waited("behind", tuple(p.name for p in concerned), time.monotonic() - start)
    return Waited(None, (), time.monotonic() - start)


def _why(late: Iterable[Progress]) -> Reason:
    halted = {progress.state for progress in late if progress.will_not_move}
    reasons: tuple[Reason, ...] = ("frozen", "stopped", "paused")
    return next((reason for reason in reasons if reason in halted), "behind")
