"""Errors as values: they travel to other processes with their facts."""

import copy
import pickle

import pytest

from diptych import errors, new_id
from diptych.stream import StreamName

STREAM = StreamName("", "Account", new_id())

ERRORS = [
    errors.DomainError("no"),
    errors.AggregateNotFoundError("Account", STREAM.id),
    errors.WrongExpectedVersionError(STREAM, 1, 2),
    errors.StaleReadError(["accounts"], "behind", 1.0),
    errors.ConfigurationError(["one", "two"]),
    errors.TwoHandlersError("Move", "here", "there"),
    errors.UnknownOutcomeError("power", new_id()),
    errors.StoreMovedError("shop.db", "postgresql://db/shop"),
    errors.SkippedPositionsError(1, 3),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_in_another_process(error: errors.DiptychError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
