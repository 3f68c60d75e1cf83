"""The row of one saga: how it is now, beside the stream that says how it came to be so.

Rule: plain data; only the lane that owns the saga writes it.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple
from uuid import UUID

from diptych.clock import id_for
from diptych.store.tables import Table, check_identifier, snake_case
from diptych.stream import StreamName
from diptych.subscriptions.tasks import columns_of, full_key, split_key

RUNNING: Final = "running"
STUCK: Final = "stuck"
COMPLETED: Final = "completed"
COMPENSATING: Final = "compensating"
COMPENSATED: Final = "compensated"
OVER: Final = frozenset({COMPLETED, COMPENSATED})


class SagaRow(NamedTuple):
    """`state` is its memory as JSON, `timers` when each of its timeouts is due; `number` that of its last task.

    `id` is that of its stream, too, unless it is a tenant's: sagas of two tenants may have one key, and so one such id.
    `before` is the status that it had before it was stuck. Times are microseconds since 1970.
    """

    id: UUID
    lane: int
    key: str
    tenant: str
    status: str
    state: str
    timers: str
    number: int
    started_at: int
    changed_at: int
    correlation: str
    error: str = ""
    before: str = ""

    @property
    def full_key(self) -> str:
        """Its key as its tasks have it, and as it is typed."""
        return full_key(self.tenant, self.key)

    @property
    def is_over(self) -> bool:
        """Whether it takes nothing any more."""
        return (self.before or self.status) in OVER

    @property
    def due(self) -> dict[str, int]:
        """When each of its timeouts is due."""
        found: dict[str, int] = json.loads(self.timers)
        return found

    def with_due(self, due: Mapping[str, int]) -> "SagaRow":
        """The row with these timeouts to come."""
        return self._replace(timers=json.dumps(due))


def saga_table(saga: str) -> Table:
    """Return the table of a saga's rows. :raises ValueError: the name cannot be a table's."""
    name = check_identifier(f"{snake_case(saga)}_sagas", f"{saga}: the table")
    return Table(name, columns_of(SagaRow), ("id",), (("status", "changed_at"),), lambda row: SagaRow(**row))


def id_of_saga(saga: str, key: str) -> UUID:
    """Return the id of a saga's stream: its key, where that is a UUID, so that it is found by what it is about.

    Another way to write the same UUID is another key, in a lane of its own, and so another saga.
    """
    with suppress(ValueError):
        if str(id := UUID(key)) == key:
            return id
    return id_for(f"saga {saga}", key)


def id_of_row(saga: str, full: str) -> UUID:
    """Return the id of a saga's row, by its full key; from it those of its commands, steps and timers are made."""
    tenant, key = split_key(full)
    return id_for(f"saga {saga}\0{tenant}", key) if tenant else id_of_saga(saga, key)


def stream_of(saga: str, full: str) -> StreamName:
    """Return the name of a saga's stream, by its full key."""
    tenant, key = split_key(full)
    return StreamName(tenant, saga, id_of_saga(saga, key))
