"""What an operator may set of a process, and rarely does.

Rule: plain values, each with a default that is right for nearly everybody.
"""

from typing import NamedTuple

from diptych.app.watching import Rounds
from diptych.projections.choosing import OnChange
from diptych.projections.site import Rules
from diptych.subscriptions.reading import Pace
from diptych.write.handling import RetryPolicy


class Tuning(NamedTuple):
    """How a process works. `runs_projections` is False in one that only answers: then others must run them.

    `lag_limit` is in seconds, for every projection that has none of its own; `rounds` are those of the watch over them.

    `exits_when_hung`: a handler that hangs ends the process, once its event is known, for a supervisor to start anew.
    """

    retry: RetryPolicy = RetryPolicy()
    cached_aggregates: int = 10_000
    pace: Pace = Pace()
    lag_limit: float = 30.0
    rounds: Rounds = Rounds()
    runs_projections: bool = True
    exits_when_hung: bool = False

    def rules(self, on_change: OnChange, *, is_development: bool) -> Rules:
        """Return what of it is about projections."""
        return Rules(self.pace, on_change, is_development, self.runs_projections, self.exits_when_hung)
