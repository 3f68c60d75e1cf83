"""Whether a subscription catches up: how fast it applies events, how fast they arrive, and when it will be there.

Rule: pure; whoever looks says when, in seconds of any clock that never goes back.
"""

from collections import deque
from typing import Literal, NamedTuple

Direction = Literal["catching up", "steady", "falling behind"]


class Trend(NamedTuple):
    """Rates in events per second. `eta` is in seconds: 0.0 when nothing waits, None when it has no end."""

    applied: float
    arriving: float
    direction: Direction
    eta: float | None

    @property
    def sentence(self) -> str:
        """Say it to people."""
        rates = f"{self.applied:,.1f} events a second are applied and {self.arriving:,.1f} arrive"
        if self.eta is None:
            return f"{rates}: it will never catch up at this rate"
        return f"{rates}: it will have caught up in {duration(self.eta)}" if self.eta else f"{rates}: nothing waits"


class _Sample(NamedTuple):
    at: float
    head: int
    position: int


class History:
    """Where one subscription and the end of the log were, over the last `window` seconds."""

    def __init__(self, window: float = 60.0) -> None:
        self._window = window
        self._samples: deque[_Sample] = deque()

    def saw(self, at: float, head: int, position: int) -> None:
        """Note what was measured. What came before a step back (rows that are built again) tells nothing any more."""
        samples = self._samples
        if samples and (position < samples[-1].position or head < samples[-1].head):
            samples.clear()
        samples.append(_Sample(at, head, min(position, head)))
        while samples[0].at < at - self._window:
            samples.popleft()

    @property
    def trend(self) -> Trend | None:
        """What the samples say; None when there are too few.

        Only those since it fell behind count: who had nothing to do says nothing of how fast he can be, and what came
        at once, in a burst, is not a rate at which events arrive.
        """
        last = self._samples[-1] if self._samples else _Sample(0.0, 0, 0)
        waiting = last.head - last.position
        first = self._samples[0] if self._samples else last
        if waiting:
            for sample in reversed(self._samples):
                if sample.position == sample.head:
                    break
                first = sample
        passed = last.at - first.at
        if passed <= 0:
            return None
        applied, arriving = (last.position - first.position) / passed, (last.head - first.head) / passed
        gained = (last.position - first.position) - (last.head - first.head)
        if not waiting:
            return Trend(applied, arriving, "steady" if gained <= 0 else "catching up", 0.0)
        eta = waiting / (applied - arriving) if gained > 0 else None
        return Trend(applied, arriving, _direction(gained, last.head - first.head), eta)


def duration(seconds: float) -> str:
    """Return seconds as people say them: `0.4 s`, `12 s`, `3 min`, `2.5 h`, `4 days`."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:,.0f} days"


def _direction(gained: int, arrived: int) -> Direction:
    """Less than a twentieth of what arrived, one way or the other, is no direction."""
    if abs(gained) <= arrived / 20:
        return "steady"
    return "catching up" if gained > 0 else "falling behind"
