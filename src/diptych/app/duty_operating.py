"""What an operator sees of sagas and reactions from outside, and asks of those who work on them.

Rule: no handler runs and nothing that the app provides is made (P9); what changes rows is asked of the lane's owner.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from uuid import UUID

from diptych.app.application import App
from diptych.app.duty_status import DutyStatus, Looker
from diptych.app.known_duties import KnownDuty
from diptych.app.operating import answered, paused, resumed, who
from diptych.app.outline import Outline, outline
from diptych.clock import SystemClock
from diptych.errors import NotFoundError
from diptych.events.codec import Codec
from diptych.events.recorded import to_microseconds
from diptych.sagas.row import SagaRow, id_of_row, stream_of
from diptych.sagas.stepped import SagaStepped
from diptych.store.leases import Request, Verb
from diptych.store.opening import as_made, open_stores
from diptych.store.protocols import EventStore
from diptych.store.tables import Table
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.tasks import PARKED, Task

_MOST: Final = 1000


class DutyOperator(NamedTuple):
    """The duties of an app whose event store is open. `begun` are the names of those that were started once."""

    store: EventStore
    known: Outline
    begun: frozenset[str]
    by: str

    @property
    def codec(self) -> Codec:
        """What reads the events."""
        return self.known.codec

    async def statuses(self, kinds: Sequence[str]) -> Sequence[DutyStatus]:
        """Measure those of these kinds."""
        mine = [one for one in self.known.duties if one.kind in kinds]
        looker = Looker(self.store, self.codec, to_microseconds(SystemClock().now()))
        measured = {one.name: one for one in await looker.all([one for one in mine if one.name in self.begun], {})}
        return [measured.get(one.name, DutyStatus(one.name, one.kind, "not begun")) for one in mine]

    async def sagas(self, duty: KnownDuty, status: str | None, limit: int = _MOST) -> Sequence[SagaRow]:
        """Return rows of a saga, those of one status or all, the last changed first."""
        assert duty.sagas is not None
        where = "WHERE status = :status " if status else ""
        rows: list[SagaRow] = await self._rows(
            duty, duty.sagas, f"{where}ORDER BY changed_at DESC LIMIT :most", status=status or "", most=limit
        )
        return rows

    async def saga(self, duty: KnownDuty, key: str, id: UUID | None = None) -> SagaRow:
        """Return the row of one saga, by its full key or the row's id. :raises NotFoundError: no event began it."""
        assert duty.sagas is not None
        where = "WHERE id = :id"
        rows: list[SagaRow] = await self._rows(duty, duty.sagas, where, id=id or id_of_row(duty.name, key))
        if not rows:
            raise NotFoundError(f"There is no {duty.name} {key}. List them: diptych saga list {duty.name}")
        return rows[0]

    async def steps(self, duty: KnownDuty, row: SagaRow) -> Sequence[tuple[int, int, SagaStepped]]:
        """Return the steps of a saga with their positions and times."""
        found = []
        for stored in await self.store.read_stream(stream_of(duty.name, row.full_key)):
            step = self.codec.decode(stored)
            if isinstance(step, SagaStepped):
                found.append((stored.position, stored.recorded_at, step))
        return found

    async def tasks(self, duty: KnownDuty, key: str | None = None, state: str | None = None) -> Sequence[Task]:
        """Return tasks by their order: of one key, and in one state, or of all."""
        where = ["lane >= 0", *(["key = :key"] if key else []), *(["state = :state"] if state else [])]
        order = f"WHERE {' AND '.join(where)} ORDER BY number DESC, changed_at DESC LIMIT :most"
        rows: list[Task] = await self._rows(duty, duty.tasks, order, key=key or "", state=state or "", most=_MOST)
        return rows[::-1]

    async def every(self, duty: KnownDuty, table: Table) -> AsyncIterator[Any]:
        """Give all rows of a table of it, page by page."""
        rest, values = "ORDER BY id LIMIT :most", dict[str, Any]()
        while rows := await self._rows(duty, table, rest, most=_MOST, **values):
            for row in rows:
                yield row
            rest, values = "WHERE id > :after ORDER BY id LIMIT :most", {"after": rows[-1].id}

    async def requests(self, duty: KnownDuty) -> Sequence[Request]:
        """Return what was asked of it, the newest first."""
        return await self.store.inline.leases.requests(duty.name)

    async def pause(self, duty: KnownDuty, seconds: float | None, reason: str) -> None:
        """Have it stand, for so long or until it is resumed; what is being performed ends. :raises NotFoundError:"""
        self._check_begun(duty)
        await paused(self.store.inline.leases, duty.name, seconds, reason, self.by)

    async def resume(self, duty: KnownDuty, reason: str) -> None:
        """Have it go on. :raises NotFoundError: it has not begun."""
        self._check_begun(duty)
        await resumed(self.store.inline.leases, duty.name, reason, self.by)

    async def ask(self, duty: KnownDuty, verb: Verb, key: str, reason: str, within: float) -> Sequence[Request]:
        """Ask the owner of a key's lane, or of all lanes without one, and wait for what they say.

        :raises NotFoundError: nothing of it is parked, and no lane stopped, or it has not begun.
        """
        self._check_begun(duty)
        if key and not await self.tasks(duty, key, PARKED):
            raise NotFoundError(f"{duty.name}: nothing of {key} is parked. Look: {duty.verb} show {duty.name}")
        leases = self.store.inline.leases
        if key:
            lane = lane_of(key, duty.kept.lanes)
            asked = await leases.ask_lane(duty.name, verb, lane, key=key, reason=reason, by=self.by)
        else:
            asked = await leases.ask(duty.name, verb, reason=reason, by=self.by)
        return await answered(self.store.inline, duty.name, asked, within)

    def _check_begun(self, duty: KnownDuty) -> None:
        if duty.name not in self.begun:
            raise NotFoundError(f"{duty.name} has not begun. Start the service once: diptych run")

    async def _rows(self, duty: KnownDuty, table: Table, rest: str, **values: Any) -> list[Any]:
        if duty.name not in self.begun:
            return []
        columns = ", ".join(column.name for column in table.columns)
        used = {name: value for name, value in values.items() if f":{name}" in rest}
        async with self.store.inline.reader() as session:
            rows = await session.fetch(f"SELECT {columns} FROM {table.name} {rest}", used)  # noqa: S608 - checked names
            return session.decode(table, rows)


@asynccontextmanager
async def duties_from_outside(app: App) -> AsyncIterator[DutyOperator]:
    """Open the event store of an app for its sagas and reactions; nothing is started, and no table made.

    :raises ConfigurationError: there is no store to open.
    """
    known = outline(app)
    made = await as_made(app.url, [one.kept for one in known.duties])
    begun = [one.kept for one in known.duties if one.name in made]
    stores = open_stores(app.url)
    try:
        await stores.events.open()
        await stores.events.inline.open(begun, store_id=stores.events.store_id)
        yield DutyOperator(stores.events, known, frozenset(made), who())
    finally:
        await stores.views.close()
        await stores.events.close()
