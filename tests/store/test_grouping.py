"""Which jobs go in one transaction (L6, L7): none that touches what another of it writes."""

from collections.abc import Collection, Hashable
from typing import NamedTuple

import pytest

from diptych.errors import StoreFullError, WrongExpectedVersionError
from diptych.store.grouping import copy_of, fit_together
from diptych.stream import StreamName
from diptych.testing.contracts.events_samples import stream


class Touching(NamedTuple):
    """A job."""

    conflicts: Collection[Hashable] = ()
    guards: Collection[Hashable] = ()


@pytest.mark.parametrize(
    ("jobs", "fitting"),
    [
        ([], []),
        ([Touching(), Touching()], [True, True]),
        ([Touching("a"), Touching("b"), Touching("a")], [True, True, False]),
        ([Touching("a"), Touching("", "a")], [True, False]),
        ([Touching("", "a"), Touching("a")], [True, False]),
        ([Touching("", "a"), Touching("", "a")], [True, True]),
        ([Touching("a"), Touching("ab"), Touching("b"), Touching("c")], [True, False, False, True]),
        ([Touching("a"), Touching("a", "b"), Touching("b")], [True, False, False]),
    ],
)
def test_a_job_fits_if_none_before_it_touches_what_it_writes(jobs: list[Touching], fitting: list[bool]) -> None:
    """One that is held back holds back what comes after it and touches the same: streams keep their order."""
    assert fit_together(jobs) == fitting


def test_an_error_for_several_is_a_copy_for_each() -> None:
    name: StreamName = stream()
    for error in (StoreFullError("full"), WrongExpectedVersionError(name, 1, 2)):
        error.__cause__ = OSError("cause")
        copied = copy_of(error)
        assert copied is not error
        assert (type(copied), str(copied), copied.__dict__) == (type(error), str(error), error.__dict__)
        assert copied.__cause__ is error.__cause__
