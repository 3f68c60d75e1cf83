"""One step of a saga: from its row and what it takes to what is written.

Rule: no I/O; what a step raises leaves nothing behind.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from pydantic import ValidationError

from diptych.errors import ProgrammingError
from diptych.events.codec import Codec
from diptych.events.recorded import to_microseconds
from diptych.messages import Metadata
from diptych.sagas.plan import Plan, Way
from diptych.sagas.row import COMPLETED, SagaRow, stream_of
from diptych.sagas.saga import Acts, Saga, StepDue, acts_of, one_line
from diptych.sagas.stepped import Cause, SagaStepped, SentCommand, SetTimer
from diptych.sagas.steps import Steps
from diptych.store.limits import check_append
from diptych.store.protocols import Append, StoreLimits, StreamWrite
from diptych.stream import ANY
from diptych.subscriptions.tasks import STEP, TIMER, Task, split_key
from diptych.subscriptions.turn import Turn

COMMAND: Final = "command"
CALL: Final = "call"
_MOST: Final = STEP // 2  # commands of one step
_NOW, _MICROSECOND = timedelta(), timedelta(microseconds=1)
_FIRST, _LAST = (to_microseconds(each.replace(tzinfo=UTC)) for each in (datetime.min, datetime.max))
_OWN: Final = {"id", "key", "_acts"}  # attributes of a saga that are not its memory


class Intake(NamedTuple):
    """What is taken, and how. `position` is of the last event that the lane has read."""

    cause: Cause
    way: Way
    taken: Any
    metadata: Metadata | None
    position: int
    at: int  # from when `after=` counts


class Stepper(NamedTuple):
    """Makes steps of one saga's plan."""

    plan: Plan
    codec: Codec

    def revive(self, full: str, state: str) -> Saga:
        """Make the saga of a full key, with its memory. :raises ProgrammingError: that does not fit its class."""
        saga = self.plan.saga(stream_of(self.plan.name, full).id, split_key(full)[1])
        try:
            memory = self.plan.memory.model_validate_json(state)
        except ValidationError as error:
            why = f"what it remembered does not fit its class any more: {one_line(error)}"
            raise ProgrammingError(f"{saga}: {why}. Have its annotation take that, too.") from error
        saga.__dict__.update({name: getattr(memory, name) for name in self.plan.memory.model_fields})
        return saga

    def remember(self, saga: Saga) -> str:
        """Write its memory down. :raises ProgrammingError: it is not what its annotations say, or is read otherwise."""
        fields = self.plan.memory.model_fields
        more = sorted(vars(saga).keys() - fields.keys() - _OWN)
        if more:
            raise ProgrammingError(f"{saga}: {more[0]} is no attribute that it declares. Annotate it in the class.")
        values = {name: getattr(saga, name) for name in fields}
        try:
            memory = self.plan.memory.model_validate(values)
            written = memory.model_dump_json()
            again = self.plan.memory.model_validate_json(written)
        except ValueError as error:
            raise ProgrammingError(f"{saga}: what it remembers cannot be written down: {one_line(error)}") from error
        if again != memory:
            lost = next((name for name in fields if getattr(again, name) != getattr(memory, name)), "a part of it")
            raise ProgrammingError(f"{saga}: what it remembers cannot be written down: {lost} is read back as another.")
        return written

    def take(self, row: SagaRow, step: Intake, turn: Turn) -> SagaRow:
        """Have the saga take something; returns its row since. What its method raises leaves the turn as it was."""
        saga = self.revive(row.full_key, row.state)
        step.way.call(saga, step.taken, step.metadata)
        if isinstance(saga, Steps):
            saga.go_on()
        acts = acts_of(saga)
        number = max(step.position * STEP, row.number)
        row = row._replace(state=self.remember(saga), changed_at=turn.now, status=acts.status or row.status)
        tasks = [*self._commands(row, step, acts), *self._steps(row, step, acts)]
        tasks = [task._replace(number=number + place, lane=turn.lane) for place, task in enumerate(tasks, 1)]
        if len(tasks) > _MOST:
            raise ProgrammingError(f"{saga}: one step sends {len(tasks)} commands; {_MOST} is the limit. Send fewer.")
        timers, due = self._timers(row, step, acts, turn)
        before, row = row.due, row._replace(number=number + len(tasks)).with_due(due)
        if acts.is_complete:
            timers, row = [], row._replace(status=acts.status or COMPLETED).with_due({})
        stream, event = stream_of(self.plan.name, row.full_key), self._event(row, step, tasks, acts, timers)
        written = self.codec.encode(event)
        check_append(Append([StreamWrite(stream, ANY, [written])]), StoreLimits())
        turn.record(stream, written)
        for name in {*acts.timers, *(before if acts.is_complete else ())}:
            turn.drop(timer_id(self.plan.name, row.id, name))
        for name, direction in acts.stopped:
            turn.drop(step_id(self.plan.name, row.id, name, direction))
        for task in [*tasks, *timers]:
            turn.put(task)
        return row

    def _commands(self, row: SagaRow, step: Intake, acts: Acts) -> Iterator[Task]:
        for place, command in enumerate(acts.commands, 1):
            id = uuid5(row.id, f"{self.plan.name}/{step.cause.id}/{step.cause.kind}/{place}")
            data = command.model_dump_json(by_alias=False, round_trip=True)
            yield Task(id, 0, COMMAND, row.full_key, 0, type(command).__name__, body(data, row, step.cause.id))

    def _steps(self, row: SagaRow, step: Intake, acts: Acts) -> Iterator[Task]:
        for name, direction, command in acts.steps:
            data = row.state if command is None else command.model_dump_json(by_alias=False, round_trip=True)
            kind, named = (CALL, name) if command is None else (COMMAND, type(command).__name__)
            text = body(data, row, step.cause.id, step=name, direction=direction)
            yield Task(step_id(self.plan.name, row.id, name, direction), 0, kind, row.full_key, 0, named, text)

    def check_taken(self, timeout: str) -> None:
        """:raises ProgrammingError: no method takes a timeout."""
        if timeout not in self.plan.timeouts:
            raise ProgrammingError(
                f"{self.plan.name}: {timeout} is scheduled, and no @on method takes it. "
                f"Write @on def due(self, timeout: {timeout}) -> None."
            )

    def _timers(self, row: SagaRow, step: Intake, acts: Acts, turn: Turn) -> tuple[list[Task], dict[str, int]]:
        due, tasks = row.due, list[Task]()
        for name, scheduled in acts.timers.items():
            due.pop(name, None)
            if scheduled is None:
                continue
            timeout, after, at = scheduled
            since = turn.now  # a step has its time from when it is begun, however late that is
            if not isinstance(timeout, StepDue):
                self.check_taken(name)
                since = step.at
            due[name] = to_microseconds(at) if at is not None else since + (after or _NOW) // _MICROSECOND
            if not _FIRST <= due[name] <= _LAST:  # a row could not hold it, or nobody could read it
                when = "beyond the year 9999" if due[name] > _LAST else "before the year 1"
                raise ProgrammingError(f"{self.plan.name}: {name} would be due {when}. Schedule it for another time.")
            text = body(timeout.model_dump_json(), row, step.cause.id)
            number = step.position * STEP
            id = timer_id(self.plan.name, row.id, name)
            tasks.append(Task(id, turn.lane, TIMER, row.full_key, number, name, text, due_at=due[name]))
        return tasks, due

    def _event(self, row: SagaRow, step: Intake, tasks: list[Task], acts: Acts, timers: list[Task]) -> SagaStepped:
        times = {task.name: task.due_at for task in timers}
        return SagaStepped(
            saga=self.plan.name,
            key=row.key,
            cause=step.cause,
            status=row.status,
            state=json.loads(row.state),
            sent=[SentCommand(command=one.name, id=one.id, data=json.loads(one.body)["data"]) for one in tasks],
            timers=[SetTimer(timeout=name, due_at=times.get(name)) for name in acts.timers],
            correlation_id=UUID(row.correlation) if row.correlation else None,
        )


def timer_id(saga: str, id: UUID, timeout: str) -> UUID:
    """Return the id of a saga's timer: there is one of each class. Sagas of two classes may share an id."""
    return uuid5(id, f"{saga}/timer/{timeout}")


def step_id(saga: str, id: UUID, step: str, direction: str) -> UUID:
    """Return the id under which a step of a saga is done, or undone: the same at each try."""
    return uuid5(id, f"{saga}/{direction}/{step}")


def body(data: str, row: SagaRow, cause: UUID, **more: str) -> str:
    """Write down what a task needs beside its name: its data, and where it comes from."""
    beside = json.dumps({"correlation": row.correlation, "cause": str(cause), "tenant": row.tenant, **more})
    return f'{beside[:-1]}, "data": {data}}}'
