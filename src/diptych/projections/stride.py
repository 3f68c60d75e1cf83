"""How many events a batch takes.

Rule: more only while batches are full and quick, so that a slow handler keeps what it had time for.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MOST: Final = 5000
_QUICK: Final = 0.5  # seconds of a batch
_SLOW: Final = 2.0


class Stride:
    """Grows where there is much to catch up: rows that several events of a batch change are read and written once."""

    def __init__(self, least: int) -> None:
        self.events = self._least = least

    @contextmanager
    def taken(self, events: int) -> Iterator[None]:
        """Apply so many events, in the block."""
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self.events = self._least
            raise
        seconds = time.monotonic() - began
        if seconds > _SLOW:
            self.events = max(self.events // 2, self._least)
        elif seconds < _QUICK and events >= self.events:
            self.events = max(min(2 * self.events, _MOST), self._least)
