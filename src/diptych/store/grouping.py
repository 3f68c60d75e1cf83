"""What waits and is done together: which jobs may be written in one transaction, and how each hears of its outcome.

Rule: what one job of a group writes, no other job of it writes or looks at; so the order within does not matter.
"""

from asyncio import Future
from collections.abc import Collection, Hashable, Iterable
from typing import Any, Protocol


class Claims(Protocol):
    """What a job touches."""

    @property
    def conflicts(self) -> Collection[Hashable]:
        """What it must have for itself within a group."""
        ...

    @property
    def guards(self) -> Collection[Hashable]:
        """What it only looks at: any number of jobs of a group may."""
        ...


def fit_together(jobs: Iterable[Claims]) -> list[bool]:
    """Say of each job, in order, whether it may go with those before it. Who may not keeps its place in the queue.

    A job that is held back holds back all later ones that touch what it does: each stream keeps the order it was given.
    """
    taken, looked_at = set[Hashable](), set[Hashable]()
    fitting: list[bool] = []
    for job in jobs:
        own, guards = job.conflicts, job.guards
        fitting.append(taken.isdisjoint(own) and looked_at.isdisjoint(own) and taken.isdisjoint(guards))
        taken.update(own)
        looked_at.update(guards)
    return fitting


def settle(answers: Iterable[tuple["Future[Any]", Any]]) -> None:
    """Give all who wait their outcomes, raised where they are errors; who was cancelled waits no more."""
    for answer, outcome in answers:
        if answer.done():
            continue
        if isinstance(outcome, BaseException):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)


def copy_of(error: Exception) -> Exception:
    """Return an equal error: one instance raised in several tasks would mix their tracebacks."""
    copied = type(error).__new__(type(error), *error.args)
    copied.__dict__.update(error.__dict__)
    copied.__cause__ = error.__cause__
    return copied
