"""Work that goes across aggregates: remembers, sends commands, and waits until something has to have happened.

Rule: a saga only says what shall be done; nothing of it happens before its step has committed.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from diptych.errors import ProgrammingError
from diptych.messages import Command

C = TypeVar("C", bound=Command[Any])


class Timeout(BaseModel):
    """Something that a saga wants to be told at a time: `class PaymentDue(Timeout)`, with fields if it needs any."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rejected(Generic[C]):
    """A command that the saga sent was refused: what `@on` takes as `rejection: Rejected[ReserveStock]`.

    `error` is the name of the error's class, `message` its sentence.
    """

    def __init__(self, command: C, error: str, message: str) -> None:
        self.command, self.error, self.message = command, error, message

    def __repr__(self) -> str:
        return f"Rejected({self.command!r}, {self.error}: {self.message})"


class Scheduled(NamedTuple):
    """A timeout, and when: after so long, or at a time."""

    timeout: Timeout
    after: timedelta | None
    at: datetime | None


Direction = Literal["do", "undo"]


class StepToTake(NamedTuple):
    """A step that is begun: a command to send, or a call to make."""

    name: str
    direction: Direction
    command: Command[Any] | None


class StepDue(Timeout):
    """A step should have been done by now."""

    step: str


class Acts:
    """What one step of a saga said."""

    def __init__(self) -> None:
        self.commands: list[Command[Any]] = []
        self.timers: dict[str, Scheduled | None] = {}  # by the timeout's name; None: cancelled
        self.steps: list[StepToTake] = []
        self.stopped: list[tuple[str, str]] = []  # steps that are not waited for any more, by name and direction
        self.is_complete = False
        self.status: str | None = None  # if it is another from now on


class Saga:
    """Subclass it: annotated attributes are its memory, `@on` methods take events, timeouts and rejections.

    It begins with an event whose method says `@on(starts=True)`, and is found again by the event's `key`, or by the id
    of its stream. Methods are plain functions, called once for each event, in the order of the log; what they ask for
    is written down with the state in one commit, and done after it. They may run again if that commit fails, so they
    read no clock and do nothing themselves.
    """

    _own_names: ClassVar[tuple[str, ...]] = ("id", "key", "dispatch", "schedule", "cancel", "complete", "saga_name")
    saga_name: ClassVar[str] = "Saga"
    begins_at_head: ClassVar[bool] = True
    id: UUID
    key: str

    def __init_subclass__(cls, name: str | None = None, *, begins: str = "head", **kwargs: Any) -> None:
        """`begins="beginning"`: the first start takes the whole log in, too, and not only what comes from then on."""
        super().__init_subclass__(**kwargs)
        own: Mapping[str, Any] = vars(cls).get("__annotations__", {})
        reserved = next(base._own_names for base in cls.__mro__[1:] if issubclass(base, Saga))
        taken = [each for each in reserved if each in vars(cls) or each in own]
        if taken:
            raise TypeError(f"{cls.__name__}.{taken[0]}: this name is reserved by Diptych. Choose another.")
        if "__init__" in vars(cls):
            raise TypeError(f"{cls.__name__}.__init__: a saga is made for each step. Give its attributes defaults.")
        if begins not in ("head", "beginning"):
            raise TypeError(f"{cls.__name__}: begins={begins!r}; it is head or beginning.")
        cls.saga_name, cls.begins_at_head = name or cls.__name__, begins == "head"

    def __init__(self, id: UUID, key: str) -> None:
        self.__dict__.update(id=id, key=key, _acts=Acts())

    def dispatch(self, command: Command[Any]) -> None:
        """Send a command once this step has committed: once, whatever ends in between (S1)."""
        if not isinstance(command, Command):
            raise ProgrammingError(
                f"{self}: dispatch({command!r:.100}): that is no command. Give it one with its fields."
            )
        self._open().commands.append(command)

    def schedule(self, timeout: Timeout, *, after: timedelta | None = None, at: datetime | None = None) -> None:
        """Be told after so long, counted from what is being taken, or at a time. It replaces one of the same class."""
        if not isinstance(timeout, Timeout):
            raise ProgrammingError(f"{self}: {timeout!r:.100} is no Timeout. Write schedule(YourTimeout(), ...).")
        if not isinstance(after, timedelta | None):
            raise ProgrammingError(f"{self}: after={after!r} is no span of time. Write timedelta(seconds={after!r}).")
        if (after is None) == (at is None):
            raise ProgrammingError(f"{self}: schedule({type(timeout).__name__}) wants after= or at=, one of them.")
        if at is not None and at.tzinfo is None:
            raise ProgrammingError(f"{self}: at={at!r} has no time zone, so it is no moment. Give an aware datetime.")
        self._open().timers[type(timeout).__name__] = Scheduled(timeout, after, at)

    def cancel(self, timeout: type[Timeout]) -> None:
        """Be told of this no more, if it was to come."""
        if not (isinstance(timeout, type) and issubclass(timeout, Timeout)):
            kind = type(timeout).__name__
            raise ProgrammingError(f"{self}: {timeout!r:.100} is no class of a Timeout. Write cancel({kind}).")
        self._open().timers[timeout.__name__] = None

    def complete(self) -> None:
        """Be done: later events are ignored, timers are gone. What was sent is still done."""
        self._open().is_complete = True

    def _open(self) -> Acts:
        acts: Acts | None = self.__dict__.get("_acts")
        if acts is None:
            raise ProgrammingError(f"{self} was used after its step. Say in an @on method what shall be done.")
        return acts

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key})"


def acts_of(saga: Saga) -> Acts:
    """Return what a step said, and let it say no more."""
    acts: Acts = saga.__dict__["_acts"]
    saga.__dict__["_acts"] = None
    return acts


def one_line(error: ValueError) -> str:
    """Say in one line what does not fit."""
    if not isinstance(error, ValidationError):
        return str(error)
    one = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
