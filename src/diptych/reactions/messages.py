"""What other systems are told: stable events of their own, in the envelope of CloudEvents 1.0.

Source: https://github.com/cloudevents/spec (JSON event format, structured mode).
Rule: nothing here knows a broker.
"""

import json
from datetime import datetime
from typing import Any, ClassVar, Final, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from diptych.errors import MessageDecodeError

CONTENT_TYPE: Final = "application/cloudevents+json"
_LONGEST: Final = 1000  # bytes of a text attribute: what an index of every store takes


class IntegrationEvent(BaseModel):
    """A fact as other systems see it: `class OrderPlaced(IntegrationEvent, name="shop.order.placed", version=1)`.

    Its shape is a contract. It is made of a domain event, which may change, and is not one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    event_name: ClassVar[str] = "IntegrationEvent"
    schema_version: ClassVar[int] = 1

    def __init_subclass__(cls, name: str | None = None, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if type(version) is not int or version < 1:
            raise TypeError(f"{cls.__name__}: version={version!r}; a schema version is a whole number from 1 on.")
        cls.event_name, cls.schema_version = name or cls.__name__, version

    @classmethod
    def message_type(cls) -> str:
        """The type that the envelope carries: the name with the version, `shop.order.placed.v1`."""
        return f"{cls.event_name}.v{cls.schema_version}"


class IntegrationMessage(NamedTuple):
    """One message. `id` is that of the event it was made of, the same however often it is published.

    Messages of one `key` are in order. `slice` is a number from 0 to 1023 that the key gives, `data` is JSON.
    """

    id: UUID
    type: str
    source: str
    key: str
    time: datetime
    data: str
    position: int = 0
    slice: int = 0
    tenant: str = ""
    correlation_id: UUID | None = None
    causation_id: UUID | None = None

    @property
    def known_by(self) -> str:
        """What tells it from all others: an id is its source's own, and two publications may tell of one event."""
        return f"{self.source} {self.type} {self.id}"


def encode(message: IntegrationMessage) -> bytes:
    """Write a message down as a CloudEvent in structured mode."""
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(message.id),
        "source": message.source,
        "type": message.type,
        "subject": message.key,
        "time": message.time.isoformat(),
        "datacontenttype": "application/json",
        "position": str(message.position),  # an attribute's integer has 32 bits, a position 64
        "slice": message.slice,
    }
    more = {"tenant": message.tenant, "correlationid": message.correlation_id, "causationid": message.causation_id}
    envelope.update({name: str(value) for name, value in more.items() if value})
    return f'{json.dumps(envelope)[:-1]}, "data": {message.data}}}'.encode()


def decode(raw: bytes) -> IntegrationMessage:
    """Read a message. :raises MessageDecodeError: it is no CloudEvent with a time, and an id that is a UUID."""
    try:
        found = json.loads(raw)
        missing = [name for name in ("specversion", "id", "type", "source", "time") if name not in found]
        if missing:
            raise ValueError(f"it has no {missing[0]}")
        if found["specversion"] != "1.0":
            raise ValueError(f"specversion is {found['specversion']!r}")
        message = IntegrationMessage(
            id=UUID(found["id"]),
            type=_text(found, "type"),
            source=_text(found, "source"),
            key=_or(found, "subject", ""),
            time=datetime.fromisoformat(found["time"]),
            data=json.dumps(found.get("data"), separators=(",", ":"), ensure_ascii=False),
            position=int(_or(found, "position", 0)),
            slice=int(_or(found, "slice", 0)),
            tenant=_or(found, "tenant", ""),
            correlation_id=_uuid(found.get("correlationid")),
            causation_id=_uuid(found.get("causationid")),
        )
        return checked(message)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise MessageDecodeError(raw, f"{type(error).__name__}: {error}") from error


def checked(message: IntegrationMessage) -> IntegrationMessage:
    """Return a message from elsewhere, which code of the service may have read.

    :raises ValueError: an attribute of it is no text that every store keeps; or an id is no UUID, and would be written
    into the log with the events of its command, which nobody could read then.
    """
    for name in ("type", "source", "key", "tenant"):
        value = getattr(message, name)
        if not isinstance(value, str) or "\0" in value or len(value.encode()) > _LONGEST:
            raise ValueError(f"{name} is no text of at most {_LONGEST} bytes without a NUL: {value!r:.80}")
    for name in ("id", "correlation_id", "causation_id"):
        value = getattr(message, name)
        if not isinstance(value, UUID) and (name == "id" or value is not None):
            raise ValueError(f"{name} is no UUID: {value!r:.80}")
    return message


def _or(found: dict[str, Any], name: str, otherwise: Any) -> Any:
    """Return an attribute that may be left out, or be null."""
    value = found.get(name)
    return otherwise if value is None else value


def _text(found: dict[str, Any], name: str) -> str:
    value = found[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {value!r}")
    return value


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
