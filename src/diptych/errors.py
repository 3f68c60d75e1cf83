"""Every error of Diptych, as one tree that answers "who must act?".

    DiptychError
    |- DomainError              the caller: a business rule said no. Users subclass it; the framework never raises it
    |- InvalidInputError        the caller: what was sent can never be stored (NUL, too large, too many)
    |- NotFoundError            the caller
    |  |- AggregateNotFoundError
    |  `- ReadModelNotFoundError
    |- ConflictError            try again, or look first
    |  |- WrongExpectedVersionError
    |  |- CommandIdReusedError
    |  |- SwapRefusedError
    |  `- RebuildRefusedError
    |- StaleReadError           try again: the read side has not caught up with what the caller has seen
    |- UnknownOutcomeError      the caller: the commit was sent and no answer came; dispatch again, same command id
    |- ConfigurationError       the developer, at start-up
    |  |- NoHandlerFoundError
    |  |- TwoHandlersError
    |  |- UnknownEventTypeError
    |  `- StoreNewerThanCodeError
    |- ProgrammingError         the developer, at run time: the framework was used in a way that would lose data
    |- DataError                the developer: stored or produced data does not fit the code
    |  |- DecodeError
    |  |- CorruptedEventError
    |  |- UpcastError
    |  |- ValueDoesNotFitError
    |  |- MessageDecodeError
    |  `- ProjectionError
    |- BuildStoppedError        the operator, and perhaps the developer: a rebuild ended before it was done
    |- PublishError             the operator: a broker is away, or refused what it was sent
    |- AccessDeniedError        the developer: the read side tried to write, or to read the event tables
    `- StoreError               the operator
       |- StoreUnavailableError
       |- StoreFullError
       |- StoreReadOnlyError
       |- StoreMovedError
       |- StoreCorruptedError
       |- OtherHistoryError
       |- SkippedPositionsError
       |- CheckpointMovedError
       `- RowChangedError

Each keeps its facts as attributes and makes its sentence from them: what failed, on which thing, what to do next.
Rule: no driver exception leaves `store/`, and no HTTP status lives here (see `web/problems.py`).
"""

from collections.abc import Sequence
from typing import Any


class DiptychError(Exception):
    """Anything Diptych raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception would call the class with its sentence alone. What cannot be made again in a process pool breaks it.
        return _made_again, (type(self), *self.args), self.__dict__


def _made_again(cls: type[DiptychError], *args: Any) -> DiptychError:
    return cls.__new__(cls, *args)


class DomainError(DiptychError):
    """A business rule said no.

    Subclass it for your own refusals. A command that raises stores nothing. `status` is the HTTP status that the web
    front answers with, `title` its problem title (default: the class name in words).
    """

    status: int = 409
    title: str | None = None


class InvalidInputError(DiptychError):
    """What was sent can never be stored: a NUL character, a lone surrogate, too many or too large events."""


class NotFoundError(DiptychError):
    """The thing asked for does not exist."""


class AggregateNotFoundError(NotFoundError):
    """No event was ever recorded under this id."""

    def __init__(self, aggregate: str, id: object) -> None:
        super().__init__(f"There is no {aggregate} with id {id}.")
        self.add_note("Create it first, or ask with get_or_none.")  # for the developer; the sentence is for callers too
        self.aggregate, self.id = aggregate, id


class ReadModelNotFoundError(NotFoundError):
    """No row has this key now; a projection that is behind may write it later."""

    def __init__(self, read_model: str, key: object) -> None:
        super().__init__(f"There is no {read_model} with key {key}.")
        self.add_note("Ask with get for None instead of an error.")
        self.read_model, self.key = read_model, key


class ConflictError(DiptychError):
    """Somebody else was first."""


class WrongExpectedVersionError(ConflictError):
    """Another writer changed the stream first; nothing of this append is stored."""

    def __init__(self, stream: object, expected: object, actual: int) -> None:
        super().__init__(f"{stream}: expected version {expected}, found {actual}. Load it again and retry.")
        self.stream, self.expected, self.actual = stream, expected, actual


class CommandIdReusedError(ConflictError):
    """The command id was used before for a command with other fields (C2)."""

    def __init__(self, command_type: str, command_id: object) -> None:
        super().__init__(
            f"Command id {command_id} was already used for another {command_type}. "
            "Send the same fields again to get the first answer, or use a new id."
        )
        self.command_type, self.command_id = command_type, command_id


class SwapRefusedError(ConflictError):
    """This generation of a projection cannot be read now, or must not be dropped; nothing is changed."""

    def __init__(self, projection: str, generation: int, why: str) -> None:
        super().__init__(f"{projection}, generation {generation}: {why}.")
        self.projection, self.generation, self.why = projection, generation, why


class RebuildRefusedError(ConflictError):
    """A projection cannot be built again now, for somebody else does something about it; nothing is changed."""

    def __init__(self, projection: str, why: str) -> None:
        super().__init__(f"{projection}: {why}.")
        self.projection, self.why = projection, why


class BuildStoppedError(DiptychError):
    """A projection's rebuild ended before it was done. What it built is kept, and it goes on from there."""

    def __init__(self, projection: str, why: str) -> None:
        how = f"What is built is kept. Once it is mended: diptych projection rebuild {projection}"
        super().__init__(f"{projection}: {why.rstrip('.')}. {how}")
        self.projection, self.why = projection, why


class StaleReadError(DiptychError):
    """A read that had to be fresh could not be, in time.

    `reason` is `behind` (try again), `parked` (a failing event must be mended first), `stopped`, `paused`, or `frozen`:
    the rows were made by other code and stay as they are until somebody has them built again. `place` says where the
    projection is, and what its last error was.
    """

    def __init__(self, projections: Sequence[str], reason: str, waited: float, place: str = "") -> None:
        names = ", ".join(projections)
        advice = "Mend what holds it up, or wait longer." if place else ""
        advice = advice or "Try again, or take the answer as it is with queries.answer."
        if reason == "frozen":
            advice = " ".join(f"Type `diptych projection rebuild {name}`." for name in projections)
            advice = f"Other code made its rows, and they stay as they are. {advice}"
        where = f", {place}" if place else ""
        super().__init__(f"{names}: still {reason} after {waited:.1f} s{where}. {advice}")
        self.projections, self.reason, self.waited, self.place = tuple(projections), reason, waited, place


class UnknownOutcomeError(DiptychError):
    """The commit was sent and no answer came: it may or may not have happened.

    Dispatch the same command again with `command_id`; it takes effect at most once.
    """

    def __init__(self, why: str, command_id: object = None) -> None:
        super().__init__(f"The commit was sent but not confirmed ({why}). Dispatch it again with the same command id.")
        self.why, self.command_id = why, command_id


class ConfigurationError(DiptychError):
    """The application is wired wrongly. `problems` lists every fault found, not only the first."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        listed = [problems] if isinstance(problems, str) else list(problems)
        text = listed[0] if len(listed) == 1 else f"{len(listed)} problems:\n" + "\n".join(f"  - {p}" for p in listed)
        super().__init__(text)
        self.problems = tuple(listed)


class NoHandlerFoundError(ConfigurationError):
    """Nobody handles this message."""

    def __init__(self, message: str, where: str | None = None) -> None:
        place = f"{where}: " if where else ""
        super().__init__(f"{place}{message} has no handler. Register one, or include the module that has it.")
        self.message = message


class TwoHandlersError(ConfigurationError):
    """Two handlers claim one message."""

    def __init__(self, message: str, first: str, second: str) -> None:
        super().__init__(f"{second}: {message} is already handled by {first}. Delete one of the two.")
        self.message, self.first, self.second = message, first, second


class UnknownEventTypeError(ConfigurationError):
    """A stored event has a type or schema version that this code does not know (I2)."""

    def __init__(self, name: str, schema_version: int, position: int) -> None:
        super().__init__(
            f"Position {position} holds a {name} v{schema_version} which this code does not know. "
            "Deploy the code that knows it, or declare the class."
        )
        self.name, self.schema_version, self.position = name, schema_version, position


class StoreNewerThanCodeError(ConfigurationError):
    """The store was written by a newer Diptych; this one refuses to touch it."""

    def __init__(self, store: str, found: int, known: int) -> None:
        super().__init__(f"{store} has schema {found}, this code knows {known}. Upgrade diptych to open it.")
        self.store, self.found, self.known = store, found, known


class ProgrammingError(DiptychError):
    """The framework is used in a way that would lose or falsify data, found at run time."""


class DataError(DiptychError):
    """Data and code do not fit."""


class DecodeError(DataError):
    """A stored event does not validate against its class."""

    def __init__(self, event_type: str, version: int, position: int, why: str) -> None:
        super().__init__(f"Position {position}: cannot read {event_type} v{version}: {why}")
        self.event_type, self.version, self.position, self.why = event_type, version, position, why


class CorruptedEventError(DataError):
    """A stored event does not match its checksum (X4)."""

    def __init__(self, position: int) -> None:
        super().__init__(f"Position {position} does not match its checksum. Restore the file from a backup.")
        self.position = position


class UpcastError(DataError):
    """An upcaster failed, or none leads from the stored version to today's."""

    def __init__(self, event_type: str, version: int, why: str) -> None:
        super().__init__(f"Cannot bring {event_type} v{version} up to date: {why}")
        self.event_type, self.version, self.why = event_type, version, why


class ValueDoesNotFitError(DataError):
    """A value has no exact place in its column."""

    def __init__(self, column: str, value: object, why: str) -> None:
        super().__init__(f"{column}: {value!r} does not fit: {why}")
        self.column, self.value, self.why = column, value, why


class ProjectionError(DataError):
    """A projection's handler broke its contract or raised, on a named event."""

    def __init__(self, projection: str, position: int, event_type: str, why: str) -> None:
        super().__init__(f"{projection} failed on position {position} ({event_type}): {why}")
        self.projection, self.position, self.event_type, self.why = projection, position, event_type, why


class AccessDeniedError(DiptychError):
    """The read side tried to write, or to read what is not its own (R4). The database itself refused."""


class StoreError(DiptychError):
    """The store cannot do its work; nothing half-done is left behind."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached or is locked by somebody else; nothing was written."""


class StoreFullError(StoreError):
    """No space is left. Nothing of the append is stored; service resumes by itself when space returns (X2)."""


class StoreReadOnlyError(StoreError):
    """The store cannot be written (file permissions, or a read-only disk)."""


class StoreMovedError(StoreError):
    """The log was moved to another store, which takes appends now; this one never will again."""

    def __init__(self, store: str, to: str) -> None:
        super().__init__(f"{store} was moved to {to}. Nothing was stored; start the service with that URL.")
        self.store, self.to = store, to


class StoreCorruptedError(StoreError):
    """The file is not a database, not one of ours, or damaged."""


class OtherHistoryError(StoreError):
    """The log is not the one this checkpoint or token was made from (a restored backup, a lost tail)."""

    def __init__(self, what: str, position: int) -> None:
        super().__init__(f"{what} was made from another history: position {position} holds another event, or none.")
        self.what, self.position = what, position


class SkippedPositionsError(StoreError):
    """A page of the log had a gap: the reader stops rather than skip an event (P4)."""

    def __init__(self, after: int, found: int) -> None:
        super().__init__(f"Position {found} came after {after}: events are missing between them. Verify the store.")
        self.after, self.found = after, found


class CheckpointMovedError(StoreError):
    """Another worker moved this checkpoint first, or what it was to move onto is not in the log any more.

    Reload and go on from there.
    """

    def __init__(self, name: str, lane: int, expected: int, actual: int) -> None:
        is_there = "but its epoch is another, or the log lacks the event that was read" if expected == actual else ""
        why = is_there or f"not {expected}"
        super().__init__(f"Checkpoint {name}/{lane} is at {actual}, {why}. Reload it.")
        self.name, self.lane, self.expected, self.actual = name, lane, expected, actual


class RowChangedError(StoreError):
    """A row that an append rests on is not what its writer believed: somebody else was there first."""

    def __init__(self, table: str, key: tuple[object, ...], column: str, expected: object) -> None:
        named = ", ".join(map(str, key))
        what = f"is gone, or its {column} is not {expected!r} any more" if column else "is there already"
        super().__init__(f"{table}: the row {named} {what}. Reload it.")
        self.table, self.key, self.column, self.expected = table, key, column, expected


class PublishError(DiptychError):
    """A broker did not confirm what it was sent. All of it is sent again, under the same ids."""

    def __init__(self, broker: str, why: str) -> None:
        super().__init__(
            f"{broker} did not confirm: {why.rstrip('.')}. It is tried again; see that the broker is there."
        )
        self.broker, self.why = broker, why


class MessageDecodeError(DataError):
    """A message from elsewhere cannot be read."""

    def __init__(self, raw: bytes, why: str) -> None:
        shown = raw[:80].decode("utf-8", "replace")
        super().__init__(f"A message of {len(raw)} bytes is no CloudEvent ({why}): {shown}")
        self.raw, self.why = raw, why
