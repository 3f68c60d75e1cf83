"""The audit of what sagas and reactions keep: every task in its lane, every saga as its stream says (S1).

Rule: it may run beside the service. What seems wrong is looked at once more, for it may have moved meanwhile.
"""

import json
from typing import Final

from diptych.app.application import App
from diptych.app.duty_operating import DutyOperator, duties_from_outside
from diptych.app.known_duties import KnownDuty
from diptych.errors import DiptychError
from diptych.sagas.row import STUCK, SagaRow, id_of_row
from diptych.store.auditing import Audit
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.tasks import STEP, Task, start_of

_TIMES: Final = 3


async def verify_duties(app: App, audit: Audit) -> list[str]:
    """Look at all rows of sagas and reactions; returns what could not be looked at."""
    try:
        async with duties_from_outside(app) as operator:
            for duty in operator.known.duties:
                if duty.name in operator.begun:
                    await _DutyAudit(operator, duty, audit).run()
    except DiptychError as error:
        return [f"sagas and reactions: {error}"]
    return []


class _DutyAudit:
    """Looks at one of them."""

    def __init__(self, operator: DutyOperator, duty: KnownDuty, audit: Audit) -> None:
        self._operator, self._duty, self._audit = operator, duty, audit

    async def run(self) -> None:
        has_begun = False
        async for task in self._operator.every(self._duty, self._duty.tasks):
            self._audit.read["rows"] += 1
            has_begun = has_begun or task.id == start_of(self._duty.name)
            self._look_at_task(task)
        if not has_begun:
            says = f"{self._duty.name}: the row that says where it began is missing, so it would take the whole log in."
            self._audit.find("S1", None, says)
        if self._duty.sagas is not None:
            async for row in self._operator.every(self._duty, self._duty.sagas):
                self._audit.read["rows"] += 1
                await self._look_at_saga(row)

    def _look_at_task(self, task: Task) -> None:
        right = lane_of(task.key, self._duty.kept.lanes)
        if task.lane not in (right, -1):
            says = f"{self._duty.name}: {task.kind} {task.name} of {task.key} is in lane {task.lane} and not in {right}"
            self._audit.find("S1", task.number // STEP, f"{says}: nobody does it in its order.")

    async def _look_at_saga(self, row: SagaRow) -> None:
        wrong = await self._wrong(row)
        for _ in range(_TIMES):
            if wrong is None:
                return
            row = await self._operator.saga(self._duty, row.full_key, row.id)
            wrong = await self._wrong(row)
        if wrong is not None:
            self._audit.find("S1", wrong[0], f"{self._duty.name} {row.full_key}: {wrong[1]}")

    async def _wrong(self, row: SagaRow) -> tuple[int | None, str] | None:
        right = lane_of(row.full_key, self._duty.kept.lanes)
        if row.lane != right:
            return None, f"its row is in lane {row.lane} and not in {right}."
        if row.id != id_of_row(self._duty.name, row.full_key):
            return None, "its row is not under the id that its key makes, so no event of it finds it."
        steps = await self._operator.steps(self._duty, row)
        if not steps:  # one that failed at its first event has none yet
            is_new = row.status == STUCK and row.number == 0
            return None if is_new else (None, "it has a row, and no event in its stream.")
        position, _, last = steps[-1]
        status = row.before if row.status == STUCK else row.status
        if status != last.status:
            return position, f"its row is {status}, and its last event says {last.status}."
        if json.loads(row.state) != last.state:
            return position, "its row remembers something else than its last event."
        return None
