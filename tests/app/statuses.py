"""Projections that are as a test says, without any that runs."""

from typing import Any

from diptych.app.status import ProjectionStatus

_WELL: dict[str, Any] = {
    "name": "tallies",
    "mode": "async",
    "state": "running",
    "position": 40,
    "lag_events": 0,
    "lag_seconds": 0.0,
    "parked": 0,
    "error": None,
    "idle_seconds": 0.1,
    "tables": ("tally",),
}
LATE: dict[str, Any] = {"position": 28, "lag_events": 12, "lag_seconds": 42.04}
HANGING: dict[str, Any] = {"idle_seconds": 31.0}
STOPPED: dict[str, Any] = {"state": "stopped", "error": "position 41 (Counted v1): ValueError: boom.", **LATE}
FROZEN: dict[str, Any] = {"state": "frozen", "error": "its rows were made by version 1 of other code"}
PARKED: dict[str, Any] = {"state": "parked", "error": "position 12: boom", "parked": 2}


def status(**changes: Any) -> ProjectionStatus:
    """A projection that is well, but for what is said."""
    return ProjectionStatus(**{**_WELL, **changes})
