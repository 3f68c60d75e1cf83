"""Old payloads, brought up to date step by step before they become events.

Rule: an upcaster is a pure function from the old JSON object to the next one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from diptych.errors import UpcastError

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Upcasters:
    """All upcasters of an app: each leads one stored type from a schema version to the next."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, int], Upcaster] = {}

    def add(self, event_name: str, from_version: int, upcaster: Upcaster) -> None:
        """Register the step from `from_version` to the next. :raises UpcastError: there is one already."""
        if (event_name, from_version) in self._steps:
            raise UpcastError(event_name, from_version, "two upcasters start here; delete one of them")
        self._steps[event_name, from_version] = upcaster

    def update(self, other: "Upcasters") -> None:
        """Take over all steps of another set."""
        for (event_name, version), upcaster in other._steps.items():
            self.add(event_name, version, upcaster)

    def steps(self) -> frozenset[tuple[str, int]]:
        """Return the stored names and versions that a step leads from."""
        return frozenset(self._steps)

    def leads_from(self, event_name: str, version: int) -> bool:
        """Whether there is a step from this version to the next."""
        return (event_name, version) in self._steps

    def bring_up(self, event_name: str, found: int, wanted: int, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Return the payload as version `wanted` has it. :raises UpcastError: a step is missing or failed."""
        current = dict(payload)
        for version in range(found, wanted):
            step = self._steps.get((event_name, version))
            if step is None:
                raise UpcastError(event_name, version, f"no upcaster leads to v{version + 1}; add one with app.upcast")
            try:
                current = step(current)
            except Exception as error:
                raise UpcastError(event_name, version, f"its upcaster raised {error!r}") from error
            if not isinstance(current, dict):
                raise UpcastError(event_name, version, f"its upcaster returned {type(current).__name__}, not a dict")
        return current
