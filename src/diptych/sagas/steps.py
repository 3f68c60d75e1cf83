"""Work in named steps, each with what undoes it: when one fails, those before are undone in reverse.

Sagas in the sense of Garcia-Molina and Salem (1987): a step is a command, or a call to somebody outside.
Rule: what was begun and may have happened is undone, too; a compensation is never given up without a word.
"""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, NamedTuple, TypeVar, overload

from pydantic import BaseModel, JsonValue, TypeAdapter

from diptych.errors import ProgrammingError
from diptych.handlers import alternatives, local_names, signature, where
from diptych.messages import Command
from diptych.sagas.row import COMPENSATED, COMPENSATING
from diptych.sagas.saga import Direction, Saga, Scheduled, StepDue, StepToTake

F = TypeVar("F", bound=Callable[..., Any])
U = TypeVar("U", bound=Callable[..., Any])

_JSON: Final = TypeAdapter[JsonValue](JsonValue)
DIRECTIONS: Final[tuple[Direction, ...]] = ("do", "undo")
_ATTEMPTS: Final = 5
_UNDO_ATTEMPTS: Final = 10
TIMEOUT: Final = timedelta(minutes=5)
"""A call that takes longer hangs: it would hold up its saga for ever."""


class StepRules(NamedTuple):
    """How long a step may take, from when it is begun, and how often it is tried when it fails by a fault.

    `timeout` is how long each try of a call may take, whether it does the step or undoes it; None: as long as it wants.
    """

    deadline: timedelta | None = None
    attempts: int = _ATTEMPTS
    timeout: timedelta | None = TIMEOUT


class Step(Generic[F]):
    """A step of a saga. `@name.undo` marks what undoes it."""

    def __init__(self, method: F, rules: StepRules, names: Mapping[str, Any]) -> None:
        self.do, self.rules, self.names = method, rules, names
        self.undone_by: Callable[..., Any] | None = None
        self.undo_rules = StepRules(attempts=_UNDO_ATTEMPTS)
        self.name = method.__name__

    def undo(self, method: U) -> U:
        """Mark the method that undoes this step. It is tried until it works; what it undoes may not have happened."""
        self.undone_by = method
        return method

    def method(self, direction: Direction) -> Callable[..., Any] | None:
        """Return what is called in this direction; None if there is nothing to undo."""
        return self.do if direction == "do" else self.undone_by

    def is_call(self, direction: Direction) -> bool:
        """Whether it is a call to somebody outside, and no command."""
        return inspect.iscoroutinefunction(self.method(direction))

    def attempts(self, direction: Direction) -> int:
        """How often it is tried."""
        return self.rules.attempts if direction == "do" else self.undo_rules.attempts

    @property
    def seconds(self) -> float | None:
        """How long each try of a call may take."""
        return None if self.rules.timeout is None else self.rules.timeout.total_seconds()


@overload
def step(method: F, /) -> Step[F]: ...
@overload
def step(
    *, deadline: timedelta | None = None, attempts: int = _ATTEMPTS, timeout: timedelta | None = TIMEOUT
) -> Callable[[F], Step[F]]: ...
def step(
    method: Any = None,
    /,
    *,
    deadline: timedelta | None = None,
    attempts: int = _ATTEMPTS,
    timeout: timedelta | None = TIMEOUT,
) -> Any:
    """Mark a step; they are done in the order they are written in.

    A plain method returns the command to send, or None if there is nothing to do. An async one calls somebody outside:
    it may ask for what is provided and for its `IdempotencyKey`, the same at each try, and what it returns is kept in
    `self.results`. A command that is refused, or a call that raises a DomainError, fails the step at once; another
    error is tried again, `attempts` times in all, until the `deadline`. A try that takes longer than its `timeout` is
    stopped, and has failed; that of an undo, too. With `timeout=None` a call may take as long as it wants.
    """
    names, rules = local_names(), StepRules(deadline, attempts, timeout)

    def mark(function: Any) -> Any:
        return Step(function, rules, names)

    return mark if method is None else mark(method)


class Progress(BaseModel):
    """How far a saga of steps is. `now` is what is being done, `left` is what is still to be undone."""

    now: str | None = None
    done: list[str] = []
    left: list[str] | None = None
    failed: str = ""
    results: dict[str, JsonValue] = {}


class StepOutcome(NamedTuple):
    """How a step ended. `is_certain`: when it failed, nothing of it can have happened."""

    name: str
    direction: Direction
    result: Any = None
    error: str = ""
    is_certain: bool = True


class Steps(Saga):
    """A saga of steps: `@step` methods, done one after another once it has begun; `fail` undoes what was done.

    Its status is running, then completed; or compensating, then compensated; or stuck, when a compensation goes on
    failing: it is put aside until somebody acts (`diptych saga list --stuck`).
    """

    _own_names = (*Saga._own_names, "progress", "results", "fail", "go_on", "take_outcome", "overdue")
    progress: Progress = Progress()

    @property
    def results(self) -> Mapping[str, Any]:
        """What calls returned, by the name of their step."""
        return self.progress.results

    def fail(self, why: str) -> None:
        """Go no further: undo what was done, in reverse."""
        progress = self.progress
        if progress.left is None:
            begun = [] if progress.now is None else [progress.now]
            self._open().stopped += [(name, "do") for name in begun]
            progress.failed, progress.left, progress.now = why, [*begun, *reversed(progress.done)], None

    def go_on(self) -> None:
        """Begin what comes next. The loop calls it after each step. :raises ProgrammingError: one that it had is gone.

        Nobody knows how to undo that, and under its new name it would be done twice (S3).
        """
        acts, progress = self._open(), self.progress
        if acts.is_complete:  # what is being done would be neither done nor undone
            raise ProgrammingError(
                f"{self}: a saga of steps is complete when they are done. Call fail(why) to undo them, or have a step "
                "return None where there is nothing to do."
            )
        steps = steps_of(type(self))
        had = [*progress.done, *(progress.left or ()), *([progress.now] if progress.now else [])]
        gone = next((name for name in had if name not in steps), None)
        if gone is not None:
            raise ProgrammingError(
                f"{self}: there is no step {gone} any more, and it was done or begun. Bring it back, until no saga is "
                "left that had it."
            )
        while progress.now is None:
            is_undoing = progress.left is not None
            direction: Direction = "undo" if is_undoing else "do"
            if progress.left is not None:
                acts.status = COMPENSATING
                upcoming = progress.left[:1]
            else:
                upcoming = [name for name in steps if name not in progress.done][:1]
            if not upcoming:
                acts.is_complete, acts.status = True, COMPENSATED if is_undoing else None
                return
            one = steps[upcoming[0]]
            method = one.method(direction)
            command = None if method is None or one.is_call(direction) else method(self)
            if method is None or (command is None and not one.is_call(direction)):
                self._is_over(one.name)
                continue
            progress.now = one.name
            acts.steps.append(StepToTake(one.name, direction, command))
            if one.rules.deadline is not None and direction == "do":
                acts.timers[deadline_of(one.name)] = Scheduled(StepDue(step=one.name), one.rules.deadline, None)

    def take_outcome(self, outcome: StepOutcome) -> None:
        """Note how a step ended. The loop calls it."""
        progress = self.progress
        if progress.now != outcome.name or outcome.direction != ("do" if progress.left is None else "undo"):
            return  # it is not waited for any more
        if outcome.error:
            if outcome.is_certain:
                progress.now = None
            self.fail(f"{outcome.name}: {outcome.error}")
            return
        if outcome.direction == "do" and outcome.result is not None:
            progress.results[outcome.name] = self._kept(outcome)
        self._is_over(outcome.name)

    def overdue(self, due: StepDue) -> None:
        """Give a step up that took too long: it may have happened, so it is undone, too. The loop calls it."""
        if self.progress.now == due.step and self.progress.left is None:
            self.fail(f"{due.step}: it was not done in time")

    def _kept(self, outcome: StepOutcome) -> JsonValue:
        try:
            return _JSON.validate_python(outcome.result)
        except ValueError as error:
            raise ProgrammingError(
                f"{self}: step {outcome.name} returned {outcome.result!r:.100}, which JSON cannot hold. Return text, a "
                "number, or a list or dict of them."
            ) from error

    def _is_over(self, name: str) -> None:
        progress = self.progress
        progress.now = None
        self._open().timers.setdefault(deadline_of(name), None)
        if progress.left is not None:
            progress.left.remove(name)
        elif name in steps_of(type(self)):  # else it was left out by an operator
            progress.done.append(name)


def deadline_of(step: str) -> str:
    """Return the name of a step's timer, which no timeout can have."""
    return f"step {step}"


def steps_of(saga: type[Saga]) -> dict[str, Step[Any]]:
    """Return the steps of a class, in their order, by name."""
    found: dict[str, Step[Any]] = {}
    for base in reversed(saga.__mro__):
        found.update({name: each for name, each in vars(base).items() if isinstance(each, Step)})
    return found


def check_steps(saga: type[Saga]) -> list[str]:
    """Return what is wrong with the steps of a class."""
    found = steps_of(saga)
    if issubclass(saga, Steps) and not found:
        return [f"{where(saga)}: it has no steps; mark methods with @step, or make it a Saga"]
    if found and not issubclass(saga, Steps):
        return [f"{where(saga)}: it has steps; make it a subclass of Steps"]
    problems: list[str] = []
    for one in found.values():
        attempts, deadline, timeout = one.rules.attempts, one.rules.deadline, one.rules.timeout
        if type(attempts) is not int or attempts < 1:
            problems.append(f"{where(one.do)}: attempts={attempts!r}; it is tried once at least")
        if deadline is not None and not (isinstance(deadline, timedelta) and deadline > timedelta()):
            problems.append(f"{where(one.do)}: deadline={deadline!r}; write a timedelta above 0")
        if timeout is not None and not (isinstance(timeout, timedelta) and timeout > timedelta()):
            problems.append(f"{where(one.do)}: timeout={timeout!r}; write a timedelta above 0, or None for no limit")
        for direction in DIRECTIONS:
            try:
                commands_of(one, direction)
            except NameError as error:
                problems.append(f"{where(one.method(direction))}: {error}; annotate it with names that can be imported")
            except TypeError as error:
                problems.append(str(error))
    return problems


def commands_of(one: Step[Any], direction: Direction) -> list[type[Command[Any]]]:
    """Return the commands that a step says it sends. :raises TypeError: and says what to write. :raises NameError:"""
    method = one.method(direction)
    if method is None or one.is_call(direction):
        return []
    read = signature(method, one.names, skip=1)
    if read.parameters:
        names = ", ".join(each.name for each in read.parameters)
        raise TypeError(
            f"{read.where}: it takes {names}; a plain step takes nothing but self, an async one asks for it"
        )
    found = [each for each in alternatives(read.returns) if isinstance(each, type) and issubclass(each, Command)]
    if not found and read.returns is not inspect.Signature.empty:
        raise TypeError(f"{read.where}: {read.returning}; a plain step returns the command to send, an async one calls")
    return [each for each in found if each is not Command]


def call_of(saga: Saga, name: str, direction: Direction) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return the call of a step, bound to its saga. :raises ProgrammingError: there is none of this name any more."""
    found = steps_of(type(saga)).get(name)
    method = None if found is None else found.method(direction)
    if method is None:
        raise no_step(saga, name, direction)
    bound: Callable[..., Coroutine[Any, Any, Any]] = method.__get__(saga)
    return bound


def no_step(saga: object, name: str, direction: Direction) -> ProgrammingError:
    """Return what is wrong when a step is owed that the class has no more."""
    return ProgrammingError(f"{saga}: there is no step {name} to {direction} any more. Bring it back, or skip it.")
