"""What a failure of a subscription means: wait and try again, stop, or put one key aside.

Rule: the database's troubles are never blamed on an event, and an event's never on the database.
"""

from enum import Enum
from random import random
from typing import Final

from diptych.errors import (
    CheckpointMovedError,
    CommandIdReusedError,
    ConflictError,
    DiptychError,
    OtherHistoryError,
    RowChangedError,
    SkippedPositionsError,
    StoreCorruptedError,
    StoreError,
    UnknownEventTypeError,
    UnknownOutcomeError,
)

OF_THE_STORE: Final = (StoreError, UnknownOutcomeError)
"""Failures that say nothing of the events that were being written."""

MOST_PARKED: Final = 100
"""More failing keys than this are not poison but a bug: the subscription stops."""

ENDED: Final = "the process ended while it was applied"
HANGS: Final = "it ran for more than"
"""These two are told by what a parked event's error says: who tries it again may hang, or end."""


class EventFailure(Exception):  # noqa: N818 - carries a cause with its place, and never reaches a user
    """A consumer could not take one event. `cause` says why, as an error of Diptych."""

    def __init__(self, position: int, cause: Exception) -> None:
        super().__init__(f"position {position}: {cause}")
        self.position, self.cause = position, cause


class LostTail(Exception):  # noqa: N818 - never reaches a user
    """The log is another one than was read so far: a fail-over lost its end. What is in memory is worth nothing."""

    def __init__(self, position: int) -> None:
        super().__init__(f"position {position} holds another event than the one that was read there, or none")
        self.position = position


class Remedy(Enum):
    """What to do about a failure."""

    RELOAD = "reload"  # somebody else moved the checkpoint, or what was read is lost: go on from where it is
    PAUSE = "pause"  # the database is away: nothing is parked, nothing is lost, try again
    STOP = "stop"  # going on would be wrong until somebody acts
    GIVE_UP = "give up"  # this code cannot go on, and newer code may: leave it to that


def remedy(error: Exception) -> Remedy:
    """Say what to do about a failure that is not one event's of an isolated subscription."""
    if isinstance(error, CheckpointMovedError | RowChangedError | LostTail):
        return Remedy.RELOAD
    if isinstance(error, UnknownEventTypeError):
        return Remedy.GIVE_UP
    if isinstance(error, OtherHistoryError | SkippedPositionsError | StoreCorruptedError):
        return Remedy.STOP
    return Remedy.PAUSE if isinstance(error, OF_THE_STORE) else Remedy.STOP


def may_be_parked(failure: EventFailure, *, is_isolated: bool, parked: int) -> bool:
    """Whether the failing key may be put aside while the others go on."""
    return is_isolated and parked < MOST_PARKED and not isinstance(failure.cause, UnknownEventTypeError)


def may_be_tried_unasked(error: str) -> bool:
    """Whether what parked a key costs no more than another error when it is tried again."""
    return ENDED not in error and HANGS not in error


def words(error: BaseException) -> str:
    """Return what an error says. One whose own code cannot say it has failed like any other, and stops nobody else."""
    try:
        return str(error)
    except Exception as worse:
        return f"what it says cannot be told, for that raised {type(worse).__name__}"


def named(error: BaseException) -> str:
    """Return an error as its kind and what it says."""
    return f"{type(error).__name__}: {words(error)}"


def told(error: BaseException) -> str:
    """Return an error as it is told to people: one of ours is a sentence, any other is named."""
    return str(error) if isinstance(error, DiptychError) else named(error)


def is_passing(error: Exception) -> bool:
    """Whether a command failed only because a database was away, or somebody was faster again and again."""
    is_of_store = isinstance(error, StoreError | UnknownOutcomeError | ConflictError)
    return is_of_store and not isinstance(error, RowChangedError | CommandIdReusedError)


class Backoff:
    """Delays that double from one failure to the next, up to a limit, each with full jitter (half of it at least)."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest, self._failures = first, longest, 0

    def next(self) -> float:
        """Seconds to wait now."""
        delay: float = min(self._longest, self._first * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        return delay * (0.5 + random() / 2)

    def reset(self) -> None:
        """Forget the failures: it worked."""
        self._failures = 0
