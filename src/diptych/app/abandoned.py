"""Alerts of what no code has any more, as it was removed or renamed: nobody would ever resolve them.

Rule: who works is told by the boards. A process that only answers is on none of them, and may have the old code yet; so
it is waited a while, and each time longer that somebody raises the same again.
"""

from collections.abc import Sequence

from diptych.store.alerts import Alert, Firing
from diptych.store.leases import Board


class Abandoned:
    """Knows since when nobody has worked on what is alerted of. `patience` is in seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[str, float] = {}
        self._resolved: dict[str, int] = {}  # how often

    def over(self, now: float, lasting: Sequence[Alert], boards: Sequence[Board]) -> Sequence[Firing]:
        """Return the last word of each alert that is over. `lasting` are those of names that this app does not have."""
        gone = [one for one in lasting if not _is_worked_on(one, boards)]
        names = {one.projection for one in gone}
        self._since = {name: self._since.get(name, now) for name in names}
        over = {name for name, since in self._since.items() if now - since >= self._patience_for(name)}
        for name in over:
            self._resolved[name] = self._resolved.get(name, 0) + 1
            del self._since[name]
        return [_last_word(one) for one in gone if one.projection in over]

    def _patience_for(self, name: str) -> float:
        return float(self._patience * 2 ** self._resolved.get(name, 0))


def _is_worked_on(alert: Alert, boards: Sequence[Board]) -> bool:
    """Whether somebody alive has code for it: then it is theirs to resolve."""
    for board in boards:
        its = {one.number for one in board.generations if one.projection == alert.projection}
        if any(its & worker.takes or f" in worker {worker.id}" in alert.message for worker in board.workers):
            return True
    return False


def _last_word(alert: Alert) -> Firing:
    why = f"Resolved as nobody works on it: no code that runs has {alert.projection} any more"
    is_said = alert.message.endswith(why)  # by who ended before it was resolved
    message = alert.message if is_said else f"{alert.message.rstrip('. ')}. {why}"
    return Firing(alert.projection, alert.kind, message, alert.value)
