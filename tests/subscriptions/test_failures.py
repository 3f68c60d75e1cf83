"""Whom a failure is blamed on, and what is done about it."""

from uuid import UUID

import pytest

from diptych.errors import (
    CheckpointMovedError,
    CommandIdReusedError,
    ConflictError,
    DecodeError,
    DomainError,
    OtherHistoryError,
    RowChangedError,
    SkippedPositionsError,
    StoreCorruptedError,
    StoreFullError,
    StoreUnavailableError,
    UnknownEventTypeError,
    UnknownOutcomeError,
)
from diptych.subscriptions.failures import (
    ENDED,
    HANGS,
    MOST_PARKED,
    Backoff,
    EventFailure,
    LostTail,
    Remedy,
    is_passing,
    may_be_parked,
    may_be_tried_unasked,
    remedy,
)

GONE = RowChangedError("tasks", ("a",), "state", "waiting")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreUnavailableError("gone"), Remedy.PAUSE),
        (StoreFullError("full"), Remedy.PAUSE),
        (CheckpointMovedError("orders", 0, 1, 2), Remedy.RELOAD),
        (OtherHistoryError("orders", 1), Remedy.STOP),
        (SkippedPositionsError(1, 3), Remedy.STOP),
        (UnknownEventTypeError("New", 1, 3), Remedy.GIVE_UP),
        (ZeroDivisionError(), Remedy.STOP),
        (StoreCorruptedError("a page is damaged"), Remedy.STOP),
        (UnknownOutcomeError("the cable was cut"), Remedy.PAUSE),
        (GONE, Remedy.RELOAD),
        (LostTail(7), Remedy.RELOAD),
    ],
)
def test_each_failure_has_its_remedy(error: Exception, expected: Remedy) -> None:
    assert remedy(error) is expected


def test_only_an_event_of_an_isolated_subscription_may_be_parked() -> None:
    poison = EventFailure(3, DecodeError("Added", 1, 3, "no"))
    assert may_be_parked(poison, is_isolated=True, parked=0)
    assert not may_be_parked(poison, is_isolated=False, parked=0)
    assert not may_be_parked(poison, is_isolated=True, parked=MOST_PARKED)
    assert not may_be_parked(EventFailure(3, UnknownEventTypeError("New", 1, 3)), is_isolated=True, parked=0)


def test_the_last_key_that_may_be_parked_is_parked() -> None:
    poison = EventFailure(3, DecodeError("Added", 1, 3, "no"))
    assert may_be_parked(poison, is_isolated=True, parked=MOST_PARKED - 1)


@pytest.mark.parametrize(
    ("error", "may_be"),
    [
        ("no ink", True),
        (f"position 3: {ENDED}", False),
        (f"orders failed on position 3: {HANGS} 5 s", False),
        ("", True),
    ],
)
def test_what_did_harm_is_not_tried_again_unasked(error: str, may_be: bool) -> None:
    """P7: whoever tries it again may hang, or end."""
    assert may_be_tried_unasked(error) is may_be


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (StoreUnavailableError("gone"), True),
        (UnknownOutcomeError("the cable was cut"), True),
        (ConflictError("somebody was faster"), True),
        (CommandIdReusedError("Pay", UUID(int=1)), False),
        (GONE, False),
        (DomainError("no"), False),
        (ZeroDivisionError(), False),
    ],
)
def test_a_command_that_failed_for_its_store_alone_is_sent_again(error: Exception, passes: bool) -> None:
    assert is_passing(error) is passes


def test_failures_say_where_they_are() -> None:
    assert str(EventFailure(3, ValueError("no ink"))) == "position 3: no ink"
    assert str(LostTail(7)) == "position 7 holds another event than the one that was read there, or none"


def test_pauses_grow_to_a_limit_and_begin_again_after_success() -> None:
    backoff = Backoff(0.1, 1.0)
    delays = [backoff.next() for _ in range(30)]
    assert all(0.5 * min(1.0, 0.1 * 2**n) <= delay <= min(1.0, 0.1 * 2**n) for n, delay in enumerate(delays))
    backoff.reset()
    assert backoff.next() <= 0.1
