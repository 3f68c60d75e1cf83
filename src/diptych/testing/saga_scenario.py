"""Given / when / then for a saga: what it took before, what it takes now, what it asks for then.

Rule: no store and no clock; each step is taken twice from the same memory, and has to come out the same.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from uuid import UUID

from diptych.clock import id_for
from diptych.errors import ProgrammingError
from diptych.events.codec import Codec
from diptych.events.upcasting import Upcasters
from diptych.messages import Command, DomainEvent, Metadata
from diptych.sagas.plan import Way, plan_of
from diptych.sagas.saga import Acts, Rejected, Saga, StepDue, Timeout, acts_of
from diptych.sagas.stepping import Stepper
from diptych.sagas.steps import Steps
from diptych.stream import StreamName

__tracebackhide__ = True  # pytest shows the line of the test, not ours

_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)


class SagaScenario:
    """One saga's story: `SagaScenario(Fulfilment).given(OrderPlaced(...)).when(PaymentDue()).then_dispatched(...)`.

    It takes events, timeouts and `Rejected(command, "OutOfStockError", "none left")`. `id` is the saga's. As in
    a service, a saga that is complete takes nothing more, and a timeout that it has not scheduled, or has cancelled,
    does not come.
    """

    def __init__(self, saga: type[Saga], *, id: UUID | None = None) -> None:
        self._plan = plan_of(saga)
        self._stepper = Stepper(self._plan, Codec(Upcasters()))
        self.id = id or id_for("saga scenario", self._plan.name)
        self._memory: str | None = None
        self._acts: Acts | None = None
        self._taken = 0
        self._due: set[str] = set()
        self._is_over, self._ignored = False, ""

    def given(self, *taken: DomainEvent | Timeout | Rejected[Any]) -> Self:
        """Take these first; what is asked for then is not looked at."""
        for one in taken:
            self._take(one)
        self._acts = None
        return self

    def when(self, taken: DomainEvent | Timeout | Rejected[Any]) -> Self:
        """Take this; `then_...` looks at what is asked for."""
        self._acts = self._take(taken)
        return self

    def then_dispatched(self, *commands: Command[Any]) -> Self:
        """Have sent these commands in this order, and no others; those of steps, too."""
        acts = self._asked()
        sent = [*acts.commands, *(one.command for one in acts.steps if one.command is not None)]
        assert list(map(_plain, sent)) == list(map(_plain, commands)), (
            f"It sent {sent}, not {list(commands)}{self._ignored}"
        )
        return self

    def then_scheduled(self, timeout: Timeout, *, after: timedelta | None = None, at: datetime | None = None) -> Self:
        """Have asked to be told of this, after so long or at a time."""
        found = self._asked().timers.get(type(timeout).__name__)
        assert found is not None, f"It scheduled no {type(timeout).__name__}"
        assert (found.timeout, found.after, found.at) == (timeout, after, at), f"It scheduled {found}"
        return self

    def then_cancelled(self, timeout: type[Timeout]) -> Self:
        """Have asked to be told of this no more."""
        timers = self._asked().timers
        assert timeout.__name__ in timers, f"It did not cancel {timeout.__name__}"
        assert timers[timeout.__name__] is None, f"It scheduled {timeout.__name__}"
        return self

    def then_completed(self) -> Self:
        """Have come to its end."""
        assert self._asked().is_complete, "It goes on"
        return self

    def then_state(self, **values: Any) -> Self:
        """Remember these."""
        saga = self._stepper.revive(str(self.id), self._memory or "{}")
        found = {name: getattr(saga, name) for name in values}
        assert found == values, f"It remembers {found}"
        return self

    def _asked(self) -> Acts:
        if self._acts is None:
            raise ProgrammingError("Nothing was taken. Write .when(event) before .then_...")
        return self._acts

    def _take(self, taken: Any) -> Acts:
        way = self._way(taken)
        if way is None:
            raise ProgrammingError(f"{self._plan.name} takes no {type(taken).__name__}. Write an @on method for it.")
        if self._memory is None and not way.starts:
            begins = ", ".join(event.__name__ for event, one in self._plan.events.items() if one.starts)
            raise ProgrammingError(f"{self._plan.name} has not begun. Give it first: {begins}")
        name = type(taken).__name__
        is_absent = isinstance(taken, Timeout) and name not in self._due
        self._ignored = f"; {name} is not to come: it was not scheduled, or was cancelled" if is_absent else ""
        self._ignored = f"; it was complete before, and took no {name}" if self._is_over else self._ignored
        if self._ignored:
            return Acts()
        before = self._memory if self._memory is not None else self._plan.memory().model_dump_json()
        self._taken += 1
        acts, memory = self._step(way, taken, before)
        again, same = self._step(way, taken, before)
        assert (_told(acts), memory) == (_told(again), same), (
            f"{self._plan.name}: two runs of one step are not the same"
        )
        self._memory = memory
        self._note(taken, acts)
        return acts

    def _note(self, taken: Any, acts: Acts) -> None:
        """Know which timeouts are to come. :raises ProgrammingError: no method takes one."""
        self._is_over = acts.is_complete
        self._due.discard(type(taken).__name__)
        for name, scheduled in acts.timers.items():
            if scheduled is not None and not isinstance(scheduled.timeout, StepDue):
                self._stepper.check_taken(name)
            self._due = self._due - {name} if scheduled is None else self._due | {name}

    def _way(self, taken: Any) -> Way | None:
        if isinstance(taken, Rejected):
            return self._plan.rejections.get(type(taken.command))
        if isinstance(taken, Timeout):
            found = self._plan.timeouts.get(type(taken).__name__)
            return None if found is None else found[1]
        return self._plan.events.get(type(taken))

    def _step(self, way: Way, taken: Any, memory: str) -> tuple[Acts, str]:
        saga = self._stepper.revive(str(self.id), memory)
        way.call(saga, taken, self._metadata())
        if isinstance(saga, Steps):
            saga.go_on()
        acts = acts_of(saga)
        return acts, self._stepper.remember(saga)

    def _metadata(self) -> Metadata:
        event_id, stream = id_for("saga scenario", str(self._taken)), StreamName("", "Given", self.id)
        return Metadata(event_id=event_id, stream=stream, version=1, position=self._taken, recorded_at=_AT)


def _plain(command: Command[Any]) -> tuple[str, Any]:
    return type(command).__name__, command.model_dump()


def _told(acts: Acts) -> Any:
    steps = [(name, direction, command and _plain(command)) for name, direction, command in acts.steps]
    return list(map(_plain, acts.commands)), acts.timers, steps, acts.is_complete, acts.status
