"""What the verbs of `diptych event` and `diptych trace` do."""

import json
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from diptych.app.application import App
from diptych.app.finding import event_at, event_of_token, event_with_id
from diptych.app.outline import Outline
from diptych.app.tracing import Scan, Step, Trace, trace, with_projections, with_sagas
from diptych.cli.looking import beside, event_id, in_one_line, looking, microseconds, readable, time
from diptych.cli.output import show, talk
from diptych.errors import DiptychError, NotFoundError
from diptych.events.recorded import StoredEvent
from diptych.store.outside import KindCount, OutsideLog

_KINDS: Final = ("type", "schema_version", "events", "first", "last", "known")
_STEPS: Final = ("kind", "position", "name", "of", "recorded_at", "ms", "id", "caused_by", "projections")


def show_one(said: str | None, which: str, *, as_json: bool) -> int:
    """Write everything about an event, a line for each thing; return 1 when the code cannot read it."""

    async def look(_: App, known: Outline, log: OutsideLog) -> tuple[Outline, StoredEvent]:
        return known, await _find(log, which)

    known, row = looking(said, look)
    payload, why = readable(row, known.codec)
    about: dict[str, Any] = {
        "position": row.position,
        "stream": str(row.stream),
        "version": row.version,
        "type": row.type,
        "schema_version": row.schema_version,
        "event_id": event_id(row),
        "recorded_at": time(row.recorded_at),
        "slice": row.stream.slice,
        **beside(row),
        "payload": in_one_line(payload, as_json=as_json),
    }
    if why is None and json.loads(row.payload) != payload:
        about["stored_payload"] = in_one_line(json.loads(row.payload), as_json=as_json)
    if as_json:
        show((), [about], as_json=True)
    else:
        show(("name", "value"), [{"name": name, "value": value} for name, value in about.items()], as_json=False)
    if why is not None:
        talk(why)
    return 1 if why else 0


async def _find(log: OutsideLog, which: str) -> StoredEvent:
    if which.isdecimal():
        return await event_at(log, int(which))
    try:
        id = UUID(which)
    except ValueError:
        return await event_of_token(log, which)
    found = await event_with_id(log, id)
    if found is None:
        raise NotFoundError(f"{log.place} has no event {id} near the time that its id names.")
    return found


def count(said: str | None, *, as_json: bool) -> int:
    """Write a line for each type and schema version; return 1 when the code does not know one."""

    async def look(_: App, known: Outline, log: OutsideLog) -> tuple[Outline, Sequence[KindCount]]:
        return known, await log.kinds()

    known, kinds = looking(said, look)
    lines = [{**kind._asdict(), "known": kind.schema_version <= (known.codec.newest(kind.type) or 0)} for kind in kinds]
    show(_KINDS, lines, as_json=as_json)
    for line in lines:
        if not line["known"]:
            talk(
                f"This code does not know {line['type']} v{line['schema_version']}, first at position {line['first']}."
            )
    return 0 if all(line["known"] for line in lines) else 1


def follow(said: str | None, asked: str, *, limit: int, since: str | None, as_json: bool) -> None:
    """Write a line for each command, event and saga step of a conversation."""
    scan = Scan(limit, microseconds(since))

    async def look(app: App, known: Outline, log: OutsideLog) -> Trace:
        found = await trace(log, asked, scan)
        found = await with_sagas(log, known.duties, known.codec, found)
        try:
            return await with_projections(app.url, known.definitions, found)
        except DiptychError as error:
            talk(f"where projections are cannot be read: {error}")
            return found

    found = looking(said, look)
    if not as_json:
        talk(f"conversation {found.conversation}")
    show(_STEPS, [_line(step, as_json=as_json) for step in found.steps], as_json=as_json)
    low, high = found.scanned
    rest = "" if high - low + 1 >= found.head else ". There is no index of conversations: more with --limit or --since"
    talk(f"looked through positions {low:,} to {high:,} of {found.head:,}{rest}")


def _line(step: Step, *, as_json: bool) -> dict[str, Any]:
    projections: Any = dict(step.projections)
    if not as_json:
        projections = ", ".join(f"{name}: {state}" for name, state in step.projections.items())
    return {
        "kind": step.kind,
        "position": step.position,
        "name": step.name,
        "of": step.of,
        "recorded_at": time(step.recorded_at),
        "ms": step.milliseconds,
        "id": step.id,
        "caused_by": step.caused_by,
        "projections": projections,
    }
