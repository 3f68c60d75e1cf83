"""A saga as a duty: takes events, timeouts and rejections, and has its commands sent.

Rule: whatever a step raises puts the saga aside with all that follows of it; no other saga notices.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from diptych.errors import ProgrammingError, RowChangedError
from diptych.events.codec import Codec
from diptych.events.recorded import RecordedEvent
from diptych.messages import Command, IdempotencyKey, on_behalf_of
from diptych.sagas.plan import Plan, Way
from diptych.sagas.row import OVER, RUNNING, STUCK, SagaRow, id_of_row, saga_table
from diptych.sagas.saga import Direction, Rejected, StepDue, acts_of, one_line
from diptych.sagas.stepped import Cause
from diptych.sagas.stepping import CALL, Intake, Stepper
from diptych.sagas.steps import TIMEOUT, StepOutcome, call_of, no_step, steps_of
from diptych.store.batches import Load, ViewBatch
from diptych.store.leases import Held
from diptych.subscriptions.apart import apart
from diptych.subscriptions.care import EndedError
from diptych.subscriptions.duty import (
    REJECTIONS,
    Desk,
    Dispatch,
    Finished,
    Given,
    LoadRows,
    Sending,
    SkippedError,
    Taken,
    Work,
    kept_by,
)
from diptych.subscriptions.failures import words
from diptych.subscriptions.lane_work import LaneWork
from diptych.subscriptions.tasks import (
    EVENT,
    PARKED,
    STEP,
    TIMER,
    Task,
    as_text,
    event_task,
    id_of,
    split_key,
    tasks_table,
)
from diptych.subscriptions.turn import Turn

_ATTEMPTS: Final = 5
_LONGEST: Final = 60.0  # seconds between two tries
_HANGS: Final = TIMEOUT.total_seconds()  # a command that takes longer: its append, if it was sent, goes on
_OUTCOME: Final = Way(lambda saga, outcome: saga.take_outcome(outcome), wants_metadata=False)
_OVERDUE: Final = Way(lambda saga, due: saga.overdue(due), wants_metadata=False)


class Call(NamedTuple):
    """What a call of a step is given: what is provided, and under which name it wants its key."""

    arguments: Mapping[str, Any]
    key: str | None


class SagaDuty:
    """Runs one saga class. `commands` are those that are handled, by name, `calls` what its steps are given."""

    def __init__(
        self,
        plan: Plan,
        codec: Codec,
        commands: Mapping[str, type[Command[Any]]],
        dispatch: Dispatch,
        calls: Mapping[tuple[str, Direction], Call],
    ) -> None:
        self.plan, self._commands, self._dispatch, self._calls = plan, commands, dispatch, calls
        self.name, self.begins_at_head = plan.name, plan.saga.begins_at_head
        self.tasks, self.sagas = tasks_table(plan.name), saga_table(plan.name)
        self.kept = kept_by(plan.name, self.sagas, self.tasks)
        self.takes = codec.names(plan.events)
        self._stepper = Stepper(plan, codec)

    def work(self, desk: Desk, held: Held) -> Work:
        """Return what works on a lane."""
        return LaneWork(self, desk, held)

    def key_of(self, recorded: RecordedEvent) -> str | None:
        """Return which saga an event is for."""
        way = self.plan.events[type(recorded.event)]
        assert way.key_of is not None
        return way.key_of(recorded)

    async def take(self, given: Given, turn: Turn, load: LoadRows) -> None:
        """Take in what there is, for each saga in its order."""
        keys = {one.task.key for one in given.finished}
        keys |= {one.key for one in given.timers} | {one.key for one in given.events} | {*given.released}
        if not keys:
            return
        wanted = [(id_of_row(self.name, key),) for key in keys]
        rows = (await load([Load(self.sagas, ("id",), wanted)]))[self.sagas.name]
        _Taking(self, turn, {row.id: row for row in rows}).all(given)

    async def perform(self, task: Task, recorded: RecordedEvent | None, beside: ViewBatch) -> Any:
        """Send a command; an event that was put aside is only handed on. :raises TimeoutError: it took too long."""
        if task.kind == EVENT:
            return recorded
        found = json.loads(task.body)
        if task.kind == CALL:
            return await self._call(task, found["step"], found["direction"], json.dumps(found["data"]))
        correlation = UUID(found["correlation"]) if found["correlation"] else None
        sending = Sending(task.id, correlation, UUID(found["cause"]), found["tenant"], beside)
        return await apart(self._dispatch(self._command(task.name, found["data"]), sending), _HANGS)

    async def _call(self, task: Task, step: str, direction: Direction, state: str) -> Any:
        """Call somebody outside, under a key that is the same at each try. :raises TimeoutError: it took too long.

        :raises ProgrammingError: it changed what the saga remembers, which nobody would write down.
        """
        saga = self._stepper.revive(task.key, state)
        acts_of(saga)  # a call says nothing; what it returns is taken in a step of its own
        call = call_of(saga, step, direction)
        found = self._calls[step, direction]
        arguments = dict(found.arguments)
        if found.key is not None:
            arguments[found.key] = IdempotencyKey(task.id)
        before = self._stepper.remember(saga)
        with on_behalf_of(split_key(task.key)[0]):
            result = await apart(call(**arguments), steps_of(type(saga))[step].seconds)
        if self._stepper.remember(saga) != before:
            raise ProgrammingError(
                f"{saga}: step {step} changed what it remembers. Return it instead: it is in self.results from then on."
            )
        return result

    @property
    def stepper(self) -> Stepper:
        """What makes its steps."""
        return self._stepper

    def command(self, task: Task) -> Command[Any]:
        """Return the command of a task. :raises LookupError: nobody handles it any more."""
        return self._command(task.name, json.loads(task.body)["data"])

    def _command(self, name: str, data: Any) -> Command[Any]:
        kind = self._commands.get(name)
        if kind is None:
            raise LookupError(f"no handler of this app takes {name}; register one, or include the module that has it")
        return kind.model_validate(data, strict=False, by_alias=False, by_name=True)


class _Taking:
    """One turn of one lane."""

    def __init__(self, duty: SagaDuty, turn: Turn, rows: dict[UUID, SagaRow]) -> None:
        self._duty, self._turn, self._rows = duty, turn, rows
        self._failed: set[str] = set()
        self._aside: Mapping[str, Collection[UUID]] = {}

    def all(self, given: Given) -> None:
        self._aside = given.failed
        for key in given.released:
            self._unstick(key)
        for finished in given.finished:
            self._finish(finished)
        for timer in given.timers:
            self._fire(timer)
        for taken in given.events:
            if taken.key in given.awaited:
                self._turn.put(event_task(taken.key, taken.recorded, self._turn.lane))
            else:
                self._event(taken)

    def _row(self, key: str) -> SagaRow | None:
        return self._rows.get(id_of_row(self._duty.name, key))

    def _finish(self, finished: Finished) -> None:
        task, result, error = finished
        if '"step"' in task.body and (found := json.loads(task.body)).get("step"):
            self._step_is_over(finished, found["step"], found["direction"])
        elif task.kind == EVENT and error is None:
            self._event(Taken(task.key, result, task))
        elif error is None or isinstance(error, RowChangedError):
            self._turn.drop(task.id)
        elif isinstance(error, SkippedError):
            self._leave_out(task)
        elif isinstance(error, REJECTIONS):
            self._reject(task, error)
        elif task.attempts + 1 < _ATTEMPTS and not isinstance(error, EndedError):
            self._turn.again(task, error, 0.2 * 4**task.attempts)
        else:
            self._park(task, error)

    def _leave_out(self, task: Task) -> None:
        row = self._row(task.key)
        if task.kind != EVENT:  # an event that was left out is kept, as a record of it
            self._turn.drop(task.id)
        if row is not None and row.number == 0:  # it is the event that was to begin it
            del self._rows[row.id]
            self._turn.change(self._duty.sagas, row.id, None)
        elif row is not None and task.kind == TIMER:
            self._put(row.with_due({name: at for name, at in row.due.items() if name != task.name}))

    def _reject(self, task: Task, error: Exception) -> None:
        kind = self._duty._commands.get(task.name)
        way = self._duty.plan.rejections.get(kind) if kind is not None else None
        row = self._row(task.key)
        if row is not None and row.is_over:
            self._turn.drop(task.id)
            return
        if way is None or row is None:
            self._park(task, error)
            return
        cause = Cause(kind="rejection", name=task.name, id=task.id, detail=as_text(error))
        rejected = Rejected(self._duty.command(task), type(error).__name__, words(error))
        step = Intake(cause, way, rejected, None, task.number // STEP, self._turn.now)
        if self._step(row, step, task):
            self._turn.drop(task.id)

    def _step_is_over(self, finished: Finished, name: str, direction: Direction) -> None:
        """Take in how a step ended; one that failed by a fault, or cannot be undone yet, is tried again."""
        task, result, error = finished
        row = self._row(task.key)
        one = steps_of(self._duty.plan.saga).get(name)
        if row is None or row.is_over:
            self._turn.drop(task.id)
            return
        if one is None and not isinstance(error, SkippedError):
            has_failed = error is not None and not isinstance(error, RowChangedError)
            self._park(task, error if error and has_failed else no_step(row.key, name, direction))
            return
        if isinstance(error, ProgrammingError | EndedError):  # another try is the same, and undoing may be
            self._park(task, error)
            return
        is_done = error is None or isinstance(error, RowChangedError | SkippedError)
        is_refused = direction == "do" and isinstance(error, REJECTIONS)
        if one is not None and error is not None and not is_done and not is_refused:
            if task.attempts + 1 < one.attempts(direction):
                self._turn.again(task, error, min(0.2 * 2**task.attempts, _LONGEST))
                return
            if direction == "undo":
                self._park(task, error)
                return
        text = "" if error is None or is_done else as_text(error)
        outcome = StepOutcome(name, direction, result if task.kind == CALL else None, text, is_refused)
        cause = Cause(kind="result", name=f"{direction} {name}", id=uuid5(task.id, str(task.attempts)), detail=text)
        intake = Intake(cause, _OUTCOME, outcome, None, task.number // STEP, self._turn.now)
        if self._step(row, intake, task):
            self._turn.drop(task.id)

    def _fire(self, timer: Task) -> None:
        if timer.id in self._turn.tasks:
            return  # it was set again in this turn, and acts at its time as it is now
        row = self._row(timer.key)
        found = self._duty.plan.timeouts.get(timer.name)
        if timer.name.startswith("step "):
            found = (StepDue, _OVERDUE)
        if row is None or row.is_over or row.due.get(timer.name) != timer.due_at:
            self._turn.drop(timer.id)  # it was cancelled, or is none of this saga any more (S2)
            return
        if timer.key in self._failed:
            self._turn.put(timer._replace(state=PARKED))
            return
        if found is None:
            self._park(timer, LookupError(f"no @on method takes {timer.name} any more"))
            return
        kind, way = found
        try:
            timeout = kind.model_validate(json.loads(timer.body)["data"])
        except ValueError as error:
            why = f"{timer.name} as it was scheduled does not fit its class any more: {one_line(error)}"
            self._park(timer, ProgrammingError(f"{why}. Give a field that is new a default."))
            return
        due = {name: at for name, at in row.due.items() if name != timer.name}
        cause = Cause(kind="timeout", name=timer.name, id=id_of_firing(timer))
        self._turn.drop(timer.id)
        step = Intake(cause, way, timeout, None, max(row.number, timer.number) // STEP, timer.due_at)
        self._step(row.with_due(due), step, timer)

    def _event(self, taken: Taken) -> None:
        key, recorded, task = taken
        way = self._duty.plan.events.get(type(recorded.event))
        row, meta = self._row(key), recorded.metadata
        if key in self._failed:
            self._turn.put(event_task(key, recorded, self._turn.lane)._replace(state=PARKED))
            return
        if way is None:  # it was put aside, by code that took it
            gone = LookupError(f"no @on method takes {recorded.row.type} any more")
            self._park(task or event_task(key, recorded, self._turn.lane), gone)
            return
        if row is None and way.starts:
            id, correlation = id_of_row(self._duty.name, key), meta.correlation_id
            tenant, own = split_key(key)
            memory = self._duty.plan.memory().model_dump_json()
            now, of = self._turn.now, "" if correlation is None else str(correlation)
            row = SagaRow(id, self._turn.lane, own, tenant, RUNNING, memory, "{}", 0, now, now, of)
        if row is None or row.is_over:
            if task is not None:
                self._turn.drop(task.id)
            return
        cause = Cause(kind="event", name=recorded.row.type, id=id_of(recorded), position=recorded.row.position)
        step = Intake(cause, way, recorded.event, meta, recorded.row.position, self._turn.since(recorded))
        if self._step(row, step, task or event_task(key, recorded, self._turn.lane)) and task is not None:
            self._turn.drop(task.id)

    def _step(self, row: SagaRow, step: Intake, task: Task) -> bool:
        """Take a step, or put the saga aside with the task that it failed at."""
        before, is_stuck = self._rows.get(row.id, row), row.status == STUCK
        if is_stuck:
            row = row._replace(status=row.before, error="", before="")
        try:
            row = self._duty.stepper.take(row, step, self._turn)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a method may not end the process, nor the work on its lane
            self._park(task, error, before)
            return False
        is_freed = self._turn.frees(self._aside.get(task.key, ()))  # it has cancelled what failed
        if is_stuck and not is_freed and row.status not in OVER:  # something else of it is put aside
            row = row._replace(status=STUCK, error=before.error, before=row.status)
        self._put(row)
        return True

    def _park(self, task: Task, error: BaseException, row: SagaRow | None = None) -> None:
        self._failed.add(task.key)
        self._turn.park(task, error)
        row = row or self._row(task.key)
        if row is not None:
            before = row.before if row.status == STUCK else row.status
            self._put(row._replace(status=STUCK, error=as_text(error), before=before, changed_at=self._turn.now))

    def _unstick(self, key: str) -> None:
        row = self._row(key)
        if row is not None and row.status == STUCK:
            self._put(row._replace(status=row.before, error="", before="", changed_at=self._turn.now))

    def _put(self, row: SagaRow) -> None:
        self._rows[row.id] = row
        self._turn.change(self._duty.sagas, row.id, row)


def id_of_firing(timer: Task) -> UUID:
    """Return an id for one firing of a timer: set again, it is another, for the same time, too."""
    return uuid5(timer.id, f"{timer.due_at}/{json.loads(timer.body)['cause']}")
