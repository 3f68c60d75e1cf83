"""What the verbs that look things up share: the app, its log seen from outside, and rows as people read them.

Rule: nothing is started and nothing is written.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from diptych.app.application import App
from diptych.app.finding import time_of
from diptych.app.outline import Outline, outline
from diptych.cli.discovery import find
from diptych.cli.output import talk
from diptych.errors import DiptychError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent, StoredMetadata, from_microseconds, to_microseconds
from diptych.store.opening import log_from_outside
from diptych.store.outside import OutsideLog

T = TypeVar("T")


def looking(said: str | None, look: Callable[[App, Outline, OutsideLog], Awaitable[T]]) -> T:
    """Find the app, open its log, and look."""
    app = find(said).app
    known = outline(app)
    for problem in known.problems:
        talk(f"not wired: {problem}")

    async def run() -> T:
        async with log_from_outside(app.url) as log:
            return await look(app, known, log)

    return asyncio.run(run())


def microseconds(said: str | None) -> int | None:
    """A time that was typed, as it is stored; None for none. :raises InvalidInputError: it is no time with a zone."""
    return None if said is None else to_microseconds(time_of(said))


def time(microseconds: int) -> str:
    """A stored time as ISO 8601, in UTC."""
    return from_microseconds(microseconds).isoformat().replace("+00:00", "Z")


def readable(row: StoredEvent, codec: Codec) -> tuple[Any, str | None]:
    """Return an event's payload as the code of today has it; or as it is stored, and why the code cannot read it."""
    try:
        return json.loads(codec.encode(codec.decode(row)).payload), None
    except DiptychError as error:
        return json.loads(row.payload), str(error)


def beside(row: StoredEvent) -> dict[str, Any]:
    """Whose an event is and what it came of, as `Metadata` says it: who begins a conversation is not written down."""
    meta = StoredMetadata(row)
    ids = {"command_id": meta.command_id, "correlation_id": meta.correlation_id, "causation_id": meta.causation_id}
    return {**{name: id and str(id) for name, id in ids.items()}, "user_id": meta.user_id}


def event_id(row: StoredEvent) -> str:
    """An event's id as text."""
    return str(UUID(bytes=row.event_id))


def in_one_line(value: Any, *, as_json: bool) -> Any:
    """A payload as JSON text, unless all of the answer is JSON."""
    return value if as_json else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
