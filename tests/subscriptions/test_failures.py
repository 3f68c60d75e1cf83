"""Whom a failure is blamed on, and what is done about it."""

import pytest

from diptych.errors import (
    CheckpointMovedError,
    DecodeError,
    OtherHistoryError,
    SkippedPositionsError,
    StoreFullError,
    StoreUnavailableError,
    UnknownEventTypeError,
)
from diptych.subscriptions.failures import MOST_PARKED, Backoff, EventFailure, Remedy, may_be_parked, remedy


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


def test_pauses_grow_to_a_limit_and_begin_again_after_success() -> None:
    backoff = Backoff(0.1, 1.0)
    delays = [backoff.next() for _ in range(30)]
    assert all(0.5 * min(1.0, 0.1 * 2**n) <= delay <= min(1.0, 0.1 * 2**n) for n, delay in enumerate(delays))
    backoff.reset()
    assert backoff.next() <= 0.1
