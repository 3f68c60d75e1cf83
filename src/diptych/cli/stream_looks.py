"""What the verbs of `diptych stream` do."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from pydantic_core import to_jsonable_python

from diptych.app.finding import stream_named, until
from diptych.app.outline import Outline
from diptych.cli.looking import beside, event_id, in_one_line, looking, readable, time
from diptych.cli.output import show, talk
from diptych.errors import ConfigurationError
from diptych.events.recorded import StoredEvent
from diptych.handlers import where
from diptych.stream import StreamName
from diptych.write.aggregate import Aggregate, replay

_ABOUT: Final = ("stream", "version", "first_recorded", "last_recorded", "position", "slice", "aggregate", "events")
_EVENTS: Final = ("version", "position", "recorded_at", "type", "schema_version", "command_id", "user_id", "payload")


def _read(said: str | None, id: str, at: str | None, verb: str) -> tuple[Outline, StreamName, Sequence[StoredEvent]]:
    async def look(_: Any, known: Outline, log: Any) -> tuple[Outline, StreamName, Sequence[StoredEvent]]:
        name = await stream_named(log, id, f"diptych stream {verb}")
        return known, name, until(await log.read_stream(name), at)

    return looking(said, look)


def show_one(said: str | None, id: str, at: str | None, *, as_json: bool) -> None:
    """Write a line about a stream."""
    known, name, rows = _read(said, id, at, "show")
    types, aggregate = Counter(row.type for row in rows), known.aggregate(name.category)
    about = {
        "stream": str(name),
        "version": rows[-1].version,
        "first_recorded": time(rows[0].recorded_at),
        "last_recorded": time(rows[-1].recorded_at),
        "position": rows[-1].position,
        "slice": name.slice,
        "aggregate": None if aggregate is None else aggregate.__name__,
        "events": dict(types) if as_json else ", ".join(f"{count} {type}" for type, count in types.items()),
    }
    show(_ABOUT, [about], as_json=as_json)


def list_events(said: str | None, id: str, at: str | None, *, raw: bool, as_json: bool) -> int:
    """Write a line for each event; return 1 when the code cannot read one."""
    known, name, rows = _read(said, id, at, "events")
    found, unreadable = list[dict[str, Any]](), 0
    for row in rows:
        payload, why = (json.loads(row.payload), None) if raw else readable(row, known.codec)
        schema = row.schema_version if raw or why else known.codec.newest(row.type)
        line = {"version": row.version, "position": row.position, "event_id": event_id(row)}
        line |= {"recorded_at": time(row.recorded_at), "type": row.type, "schema_version": schema, **beside(row)}
        found.append({**line, "payload": in_one_line(payload, as_json=as_json), **({"error": why} if why else {})})
        if why is not None:
            unreadable += 1
            talk(why)
    if not as_json:
        talk(str(name))
    show(_EVENTS, found, as_json=as_json)
    return 1 if unreadable else 0


def show_state(said: str | None, id: str, at: str | None, *, diff: bool, as_json: bool) -> None:
    """Write an aggregate's fields, or what each event did to them.

    :raises ConfigurationError: the app has no such aggregate. :raises DataError: the code cannot read an event.
    """
    known, name, rows = _read(said, id, at, "state")
    cls = known.aggregate(name.category)
    if cls is None:
        names = ", ".join(sorted(known.aggregates)) or "none"
        raise ConfigurationError(
            f"No aggregate of this app is stored as {name.category}. It has {names}. "
            f"For the events alone: diptych stream events {id}"
        )
    aggregate, changes = cls(name.id), list[dict[str, Any]]()
    for row in rows:
        before = _state(aggregate)
        replay(aggregate, [known.codec.decode(row)])
        changes += _changes(row, before, _state(aggregate), as_json=as_json)
    if not as_json:
        talk(f"{name} at version {aggregate.version}, {time(rows[-1].recorded_at)}; {where(cls)}")
    if diff:
        show(("version", "recorded_at", "type", "field", "before", "after"), changes, as_json=as_json)
    elif as_json:
        last = {"version": aggregate.version, "recorded_at": time(rows[-1].recorded_at)}
        show((), [{"stream": str(name), **last, "state": _state(aggregate)}], as_json=True)
    else:
        fields = [
            {"field": key, "value": in_one_line(value, as_json=False)} for key, value in _state(aggregate).items()
        ]
        show(("field", "value"), fields, as_json=False)


def _state(aggregate: Aggregate) -> dict[str, Any]:
    """What an aggregate holds, defaults of its class among it, as JSON has it."""
    hidden = ("id", "version")
    names = [name for cls in reversed(type(aggregate).__mro__) for name in vars(cls).get("__annotations__", ())]
    found = {
        name: getattr(aggregate, name) for name in names if name not in vars(Aggregate) and hasattr(aggregate, name)
    }
    found |= vars(aggregate)
    shown = {name: value for name, value in found.items() if not name.startswith("_") and name not in hidden}
    result: dict[str, Any] = to_jsonable_python(shown, fallback=repr)
    return result


def _changes(row: StoredEvent, before: dict[str, Any], after: dict[str, Any], *, as_json: bool) -> list[dict[str, Any]]:
    """A line for each field that an event changed; one without a field when it changed none."""
    event = {"version": row.version, "recorded_at": time(row.recorded_at), "type": row.type}
    changed = [name for name in after if name not in before or before[name] != after[name]]
    if not changed:
        return [{**event, "field": None, "before": None, "after": None}]
    return [
        {
            **event,
            "field": name,
            "before": in_one_line(before.get(name), as_json=as_json),
            "after": in_one_line(after[name], as_json=as_json),
        }
        for name in changed
    ]
