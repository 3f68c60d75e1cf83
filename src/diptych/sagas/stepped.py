"""What is written down of a saga: its stream can be read like any other.

Rule: everything that the saga said in one step is in one event.
"""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue

from diptych.messages import DomainEvent


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cause(_Part):
    """What a step took: an `event`, a `timeout`, a `rejection`, or a `result` of a step; its name, id and position."""

    kind: str
    name: str
    id: UUID
    position: int | None = None
    detail: str = ""


class SentCommand(_Part):
    """A command that was to be sent, under its id."""

    command: str
    id: UUID
    data: JsonValue


class SetTimer(_Part):
    """A timeout, and when it is due (microseconds since 1970); None: cancelled."""

    timeout: str
    due_at: int | None


class SagaStepped(DomainEvent, name="diptych.saga.stepped", inert=True):
    """A saga took something in: what it was, how the saga is since, and what it wants done."""

    saga: str
    key: str
    cause: Cause
    status: str
    state: dict[str, Any]
    sent: list[SentCommand] = []
    timers: list[SetTimer] = []
    correlation_id: UUID | None = None
