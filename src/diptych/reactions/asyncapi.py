"""What a service publishes and consumes, as an AsyncAPI 3.0 document.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0
Rule: made of what was registered; nothing is opened.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from diptych.reactions.messages import CONTENT_TYPE, IntegrationEvent

_TEXT: Final = {"type": "string"}
_ENVELOPE: Final[Mapping[str, Any]] = {
    "specversion": {"const": "1.0"},
    "id": {"type": "string", "format": "uuid", "description": "The same however often the message is sent."},
    "source": {"type": "string", "format": "uri-reference"},
    "subject": {"type": "string", "description": "What keeps the order: messages of one subject are in order."},
    "time": {"type": "string", "format": "date-time"},
    "datacontenttype": {"const": "application/json"},
    "position": {"type": "string", "description": "The event's place in the log of its service."},
    "slice": {"type": "integer", "minimum": 0, "maximum": 1023},
    "tenant": _TEXT,
    "correlationid": {"type": "string", "format": "uuid"},
    "causationid": {"type": "string", "format": "uuid"},
}
_REQUIRED: Final = ("specversion", "id", "source", "type", "data")


class Channel(NamedTuple):
    """A publication or an inbox: where its messages are at the broker, and which there may be."""

    name: str
    address: str
    action: Literal["send", "receive"]
    events: Sequence[type[IntegrationEvent]]
    description: str = ""


def asyncapi(title: str, version: str, channels: Sequence[Channel]) -> dict[str, Any]:
    """Return the document."""
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for channel in channels:
        for event in channel.events:
            messages[event.message_type()] = _message(event, schemas)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": CONTENT_TYPE,
        "channels": {channel.name: _channel(channel) for channel in channels},
        "operations": {f"{one.action}.{one.name}": _operation(one) for one in channels},
        "components": {"messages": messages, "schemas": schemas},
    }


def _channel(channel: Channel) -> dict[str, Any]:
    kinds = [event.message_type() for event in channel.events]
    found: dict[str, Any] = {
        "address": channel.address,
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in kinds},
    }
    return {**found, "description": channel.description} if channel.description else found


def _operation(channel: Channel) -> dict[str, Any]:
    kinds = [event.message_type() for event in channel.events]
    return {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{kind}"} for kind in kinds],
    }


def _message(event: type[IntegrationEvent], schemas: dict[str, Any]) -> dict[str, Any]:
    kind = event.message_type()
    schema = event.model_json_schema(ref_template=f"#/components/schemas/{kind}.{{model}}")
    for name, part in schema.pop("$defs", {}).items():
        schemas[f"{kind}.{name}"] = part
    if event.model_config.get("extra") == "forbid":  # of who makes it: who reads it leaves alone what is added later
        schema.pop("additionalProperties", None)
    schemas[kind] = schema
    properties = {**_ENVELOPE, "type": {"const": kind}, "data": {"$ref": f"#/components/schemas/{kind}"}}
    return {
        "name": kind,
        "title": event.__name__,
        **({"summary": schema["description"].splitlines()[0]} if schema.get("description") else {}),
        "contentType": CONTENT_TYPE,
        "payload": {"type": "object", "required": list(_REQUIRED), "properties": properties},
    }
