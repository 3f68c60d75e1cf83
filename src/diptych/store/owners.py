"""Which projection owns which table.

Rule: a table has one projection, and a store keeps those alone that it was opened with.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from diptych.errors import ConfigurationError, ProgrammingError
from diptych.store.batches import ProjectionTables

T = TypeVar("T")


def refuse_shared(projections: Sequence[ProjectionTables]) -> None:
    """:raises ConfigurationError: two projections have one table."""
    owners: dict[str, str] = {}
    problems = []
    for projection in projections:
        for table in projection.tables:
            other = owners.setdefault(table.name, projection.name)
            if other != projection.name:
                problems.append(f"{projection.name}: the table {table.name} is {other}'s. A table has one projection.")
    if problems:
        raise ConfigurationError(problems)


def known_to(projections: Mapping[str, T], projection: str) -> T:
    """Return what a store knows of a projection. :raises ProgrammingError: it was not opened with it."""
    try:
        return projections[projection]
    except KeyError:
        raise ProgrammingError(f"The store was not opened with the projection {projection}.") from None
