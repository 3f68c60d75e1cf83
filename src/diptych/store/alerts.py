"""What is wrong with projections, as records: raised once, updated while it lasts, resolved when it is over.

Rule: of many processes that see the same, one raises it; who makes a change is told, so that it is delivered once.
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, Protocol

AlertKind = Literal["lag", "stopped", "parked", "dead", "frozen"]
Change = Literal["raised", "updated", "resolved"]


class Firing(NamedTuple):
    """Something that is wrong now. `value` is what is measured: seconds of lag, parked keys, seconds since a beat."""

    projection: str
    kind: AlertKind
    message: str
    value: float = 0.0


class Alert(NamedTuple):
    """A record. Times are microseconds since 1970, by the database's clock; `resolved_at` is None while it lasts."""

    id: int
    projection: str
    kind: AlertKind
    message: str
    value: float
    raised_at: int
    updated_at: int
    resolved_at: int | None = None


class AlertChange(NamedTuple):
    """What this call did to a record."""

    change: Change
    alert: Alert


class Alerts(Protocol):
    """The records of one view store."""

    async def reconcile(
        self, firing: Sequence[Firing], among: Collection[str], *, update_after: float
    ) -> Sequence[AlertChange]:
        """Bring the records of these projections in line with what fires now, in one transaction.

        What fires and has no open record is raised; what has one is updated when its sentence changed and the record
        is older than `update_after` seconds; an open record of what does not fire is resolved. Returns what was done.
        """
        ...

    async def recent(
        self, projection: str | None = None, *, is_open: bool = False, limit: int = 100
    ) -> Sequence[Alert]:
        """Return the last records, newest first; only those that last with `is_open`."""
        ...
