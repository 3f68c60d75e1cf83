"""`diptych saga list`, `diptych reaction list` and `show`.

Rule: nothing is started and nothing is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from diptych.app.duty_operating import DutyOperator, duties_from_outside
from diptych.app.duty_status import WRONG, DutyStatus
from diptych.app.known_duties import REACTIONS, DutyKind, duty_named
from diptych.app.outline import outline
from diptych.cli.discovery import find
from diptych.cli.looking import time
from diptych.cli.output import show, talk
from diptych.sagas.row import STUCK, SagaRow
from diptych.store.leases import Request
from diptych.subscriptions.tasks import PARKED, WAITING, Task

T = TypeVar("T")

_LIST: Final = (
    "name", "kind", "state", "lag_events", "lag_seconds", "waiting", "retried", "timers", "parked", "stuck", "error",
)  # fmt: skip
_SAGAS: Final = ("saga", "key", "status", "started", "changed", "next_timer", "error")
_TASKS: Final = ("key", "outcome", "kind", "name", "position", "attempts", "changed", "error")
_MOST: Final = 100


def looking_at_duties(said: str | None, look: Callable[[DutyOperator], Awaitable[T]]) -> T:
    """Find the app, open its store for its sagas and reactions, and look."""
    app = find(said).app
    for problem in outline(app).problems:
        talk(f"not wired: {problem}")

    async def run() -> T:
        async with duties_from_outside(app) as operator:
            return await look(operator)

    return asyncio.run(run())


def list_duties(said: str | None, kinds: Sequence[DutyKind], name: str = "", *, as_json: bool) -> int:
    """Write a line for each saga class, or each reaction, publication and inbox; return 1 when one needs somebody."""

    async def look(operator: DutyOperator) -> Sequence[DutyStatus]:
        if name:
            duty_named(operator.known.duties, kinds, name)
        return [one for one in await operator.statuses(kinds) if name in ("", one.name)]

    found = looking_at_duties(said, look)
    show(_LIST, [row_of_duty(one) for one in found], as_json=as_json)
    for one in found:
        if one.problem is not None:
            talk(one.problem)
    return 1 if any(one.state in WRONG for one in found) else 0


def row_of_duty(one: DutyStatus) -> dict[str, Any]:
    """Return the line of a duty."""
    more = ("position", "began", "late_seconds", "undone_seconds", "lanes", "workers")
    return {name: getattr(one, name) for name in (*_LIST, *more)}


def list_sagas(said: str | None, name: str, status: str, *, as_json: bool) -> int:
    """Write a line for each saga, the last changed first; return 1 when one of them is stuck."""

    async def look(operator: DutyOperator) -> list[tuple[str, SagaRow]]:
        mine = [one for one in operator.known.duties if one.kind == "saga" and name in ("", one.name)]
        if name and not mine:
            duty_named(operator.known.duties, ("saga",), name)
        return [(one.name, row) for one in mine for row in await operator.sagas(one, status or None, _MOST + 1)]

    found = looking_at_duties(said, look)
    rows = [{"saga": saga, **row_of_saga(row)} for saga, row in found]
    show(_SAGAS, rows[:_MOST], as_json=as_json)
    if len(rows) > _MOST:
        talk(f"These are the last {_MOST}. Ask for fewer: diptych saga list {name or found[0][0]} --status STATUS")
    return 1 if any(row.status == STUCK for _, row in found) else 0


def row_of_saga(row: SagaRow) -> dict[str, Any]:
    """Return the line of one saga."""
    due = min(row.due.items(), key=lambda one: one[1], default=None)
    return {
        "key": row.full_key,
        "status": row.status,
        "started": time(row.started_at),
        "changed": time(row.changed_at),
        "next_timer": None if due is None else f"{due[0]} at {time(due[1])}",
        "error": row.error or None,
    }


def show_reaction(said: str | None, name: str, key: str, *, as_json: bool) -> int:
    """Tell what became of events and messages; return 1 when one is parked."""

    async def look(operator: DutyOperator) -> tuple[DutyStatus, Sequence[Task], Sequence[Request]]:
        duty = duty_named(operator.known.duties, REACTIONS, name)
        (status,) = [one for one in await operator.statuses((duty.kind,)) if one.name == name]
        open_ = [] if key else [*await operator.tasks(duty, None, PARKED), *await operator.tasks(duty, None, WAITING)]
        tasks = {one.id: one for one in (*open_, *(await operator.tasks(duty, key or None))[-_MOST:])}
        return status, sorted(tasks.values(), key=lambda one: one.number), await operator.requests(duty)

    status, tasks, requests = looking_at_duties(said, look)
    rows, asked = [row_of_task(one) for one in tasks], [row_of_request(one) for one in requests]
    is_wrong = any(one.state == PARKED for one in tasks) or status.state in WRONG
    if as_json:
        show((), [{**row_of_duty(status), "outcomes": rows, "requests": asked}], as_json=True)
        return 1 if is_wrong else 0
    talk(f"{name}: {status.kind}, {status.state}, {status.lag_events} events behind")
    if status.began:
        talk(f"It began after position {status.began}; what was there before was none of its business.")
    if status.problem is not None:
        talk(status.problem)
    show(_TASKS, rows, as_json=False)
    tell_requests(asked)
    return 1 if is_wrong else 0


def row_of_task(one: Task) -> dict[str, Any]:
    """Return the line of a task: what became of it."""
    return {
        "key": one.key,
        "outcome": "waiting for another try" if one.state == WAITING and one.attempts else one.state,
        "kind": one.kind,
        "name": one.name,
        "position": one.number // 1000 or None,
        "attempts": one.attempts,
        "changed": time(one.changed_at),
        "error": one.error or None,
    }


def row_of_request(one: Request) -> dict[str, Any]:
    """Return the line of what was asked."""
    return {
        "verb": one.verb,
        "key": one.key,
        "by": one.asked_by,
        "at": time(one.asked_at),
        "reason": one.reason,
        "outcome": one.outcome or "not done yet",
    }


def tell_requests(asked: Sequence[dict[str, Any]]) -> None:
    """Write what was asked and done, where there is any."""
    told = [one for one in asked if one["outcome"] != "nothing was put aside"]  # of a retry, most lanes say so
    if told:
        talk("\nasked and done, newest first")
        show(("verb", "key", "by", "at", "reason", "outcome"), told, as_json=False)
