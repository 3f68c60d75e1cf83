"""`diptych saga show`: one saga, step by step.

Rule: nothing is started and nothing is written.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from diptych.app.duty_operating import DutyOperator
from diptych.app.known_duties import duty_named
from diptych.cli.duty_looks import looking_at_duties, row_of_request, row_of_saga, row_of_task, tell_requests
from diptych.cli.looking import time
from diptych.cli.output import show, talk
from diptych.sagas.row import STUCK, SagaRow
from diptych.sagas.stepped import SagaStepped, SentCommand
from diptych.store.leases import Request
from diptych.subscriptions.tasks import PARKED, TIMER, WAITING, Task

_STEPS: Final = ("position", "at", "cause", "status", "sent", "timers")
_TASKS: Final = ("kind", "name", "position", "attempts", "changed", "error")


class _Told(NamedTuple):
    row: SagaRow
    steps: Sequence[tuple[int, int, SagaStepped]]
    tasks: Sequence[Task]
    requests: Sequence[Request]


def show_saga(said: str | None, name: str, key: str, *, as_json: bool) -> int:
    """Tell all of one saga; return 1 when it is stuck. :raises NotFoundError: there is none such."""

    async def look(operator: DutyOperator) -> _Told:
        duty = duty_named(operator.known.duties, ("saga",), name)
        row = await operator.saga(duty, key)
        asked = [one for one in await operator.requests(duty) if one.key in ("", row.full_key)]
        return _Told(row, await operator.steps(duty, row), await operator.tasks(duty, row.full_key), asked)

    told = looking_at_duties(said, look)
    row, states = told.row, {str(one.id): one for one in told.tasks}
    steps = [_step(*one, states, as_json=as_json) for one in told.steps]
    timers = [{"timeout": timeout, "due": time(due)} for timeout, due in row.due.items()]
    parked = [row_of_task(one) for one in told.tasks if one.state == PARKED]
    to_do = [row_of_task(one) for one in told.tasks if one.state == WAITING and one.kind != TIMER]
    requests = [row_of_request(one) for one in told.requests]
    code = 1 if row.status == STUCK else 0
    if as_json:
        rest = {"timers": timers, "to_do": to_do, "parked": parked, "requests": requests}
        shown = {"saga": name, **row_of_saga(row), "state": json.loads(row.state), "steps": steps, **rest}
        show((), [shown], as_json=True)
        return code
    talk(f"{name} {row.full_key}: {row.status}{f', {row.before} before' if row.before else ''}")
    talk(f"state {row.state}")
    show(_STEPS, steps, as_json=False)
    if timers:
        talk("\ntimers to come")
        show(("timeout", "due"), timers, as_json=False)
    if to_do:
        talk("\nto be done")
        show(_TASKS, to_do, as_json=False)
    if parked:
        talk("\nparked")
        show(_TASKS, parked, as_json=False)
    if code:
        talk(f"It is stuck: {row.error.rstrip('. ')}. Once it is mended: diptych saga retry {name} {row.full_key}")
    tell_requests(requests)
    return code


def _step(position: int, at: int, step: SagaStepped, states: Mapping[str, Task], *, as_json: bool) -> dict[str, Any]:
    where = "" if step.cause.position is None else f" at {step.cause.position}"
    detail = f": {step.cause.detail}" if step.cause.detail else ""
    sent = [_sent(one, states.get(str(one.id)), as_json=as_json) for one in step.sent]
    timers = [f"{one.timeout} {'cancelled' if one.due_at is None else f'at {time(one.due_at)}'}" for one in step.timers]
    return {
        "position": position,
        "at": time(at),
        "cause": f"{step.cause.kind} {step.cause.name}{where}{detail}",
        "status": step.status,
        "sent": sent if as_json else ", ".join(sent),
        "timers": timers if as_json else ", ".join(timers),
    }


def _sent(sent: SentCommand, task: Task | None, *, as_json: bool) -> Any:
    """What became of a command: once it took effect or was refused nothing is owed any more."""
    state = "done" if task is None else task.state
    if not as_json:
        return f"{sent.command} ({state})"
    return {"command": sent.command, "id": str(sent.id), "data": sent.data, "state": state}
