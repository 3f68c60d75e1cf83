"""What a saga or a reaction owes: durable rows that are written with the events they come of, and done afterwards.

Rule: plain data; who does it, and when, is `lane_work.py`.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple
from uuid import UUID

from diptych.clock import id_for
from diptych.events.recorded import RecordedEvent
from diptych.store.tables import Column, Kind, Table, check_identifier, snake_case
from diptych.subscriptions.failures import named

TIMER: Final = "timer"
EVENT: Final = "event"
START: Final = "start"

STEP: Final = 1000
"""From the number of one event's first task to that of the next event's."""

_LONGEST: Final = 1000  # bytes of a key: what an index of every store takes, a tenant before it
_OF_TENANT: Final = "tenant:"

WAITING: Final = "waiting"
TAKEN: Final = "taken"  # its effect is in the log: a command's own append says so
DONE: Final = "done"
PARKED: Final = "parked"
SKIPPED: Final = "skipped"


class Task(NamedTuple):
    """One thing to do. Those of one `key` (a full one: see `full_key`) are done one after another, by `number`.

    `kind` is a timer, an event to be taken, or a word of the duty's own; `name` says which command, timeout, step or
    event; `body` is JSON. Times are microseconds since 1970.
    """

    id: UUID
    lane: int
    kind: str
    key: str
    number: int
    name: str
    body: str = ""
    state: str = WAITING
    due_at: int = 0
    attempts: int = 0
    error: str = ""
    changed_at: int = 0


_KINDS: Final = {UUID: Kind.UUID, int: Kind.INTEGER, str: Kind.TEXT}


def tasks_table(duty: str) -> Table:
    """Return the table of a duty's tasks. :raises ValueError: the name cannot be a table's."""
    name = check_identifier(f"{snake_case(duty)}_tasks", f"{duty}: the table")
    indexes = (("lane", "state", "due_at"), ("key", "state"))
    return Table(name, columns_of(Task), ("id",), indexes, lambda row: Task(**row))


def columns_of(row: type[Any]) -> tuple[Column, ...]:
    """Return the columns of a row that is a NamedTuple of ids, whole numbers and texts."""
    return tuple(Column(name, _KINDS[kind]) for name, kind in row.__annotations__.items())


def as_key(text: str) -> str:
    """Return a key as rows hold it: a very long one by its beginning and a digest. :raises ValueError: no row can."""
    if "\0" in text:
        raise ValueError(f"{text!r:.80} holds a NUL, which no store can keep in a key")
    raw = text.encode()
    if len(raw) <= _LONGEST:
        return text
    return f"{raw[: _LONGEST - 100].decode(errors='ignore')}~{sha256(raw).hexdigest()}"


def full_key(tenant: str, key: str) -> str:
    """Return a key as tasks have it: two tenants' equal keys are two. That of the empty tenant is as it is."""
    if not tenant and not key.startswith(_OF_TENANT):
        return key
    return f"{_OF_TENANT}{tenant.replace('%', '%25').replace('/', '%2F')}/{key}"


def split_key(full: str) -> tuple[str, str]:
    """Return the tenant and the key that a full key is made of."""
    if not full.startswith(_OF_TENANT):
        return "", full
    tenant, _, key = full.removeprefix(_OF_TENANT).partition("/")
    return tenant.replace("%2F", "/").replace("%25", "%"), key


def id_of(recorded: RecordedEvent) -> UUID:
    """Return an event's id."""
    return UUID(bytes=recorded.row.event_id)


def event_task(key: str, recorded: RecordedEvent, lane: int) -> Task:
    """Return the task of taking an event."""
    row = recorded.row
    return Task(id_of(recorded), lane, EVENT, key, row.position * STEP, row.type)


def start_of(duty: str) -> UUID:
    """Return the id of the row that says where a duty began."""
    return id_for("start", duty)


def as_text(error: BaseException) -> str:
    """Return an error as a row keeps it."""
    return named(error).replace("\0", "?").encode("utf-8", "replace").decode()[:2000]


def failed_first(aside: Sequence[Task]) -> Sequence[Task]:
    """Return the one that failed, of those of a key that were put aside: a timer that waits for it may be before it."""
    return [one for one in aside if one.error][:1] or aside[:1]


def seconds_to(task: Task, now: int) -> float:
    """Return how long it is until a task is due; by a clock that was set back no longer than was meant."""
    return max(0.0, min(task.due_at - now, task.due_at - task.changed_at) / 1_000_000)


def undone(name: str, key: str, error: str) -> str:
    """Say that a task is not done, and why, as far as is known."""
    return f"{name} of {key} is not done{f', and is tried again: {error}' if error else ' yet'}"
