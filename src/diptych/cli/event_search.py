"""What `diptych event search` does."""

from difflib import get_close_matches
from typing import Any, Final

from diptych.app.application import App
from diptych.app.outline import Outline
from diptych.app.searching import Bounds, FoundEvents, Wanted, search
from diptych.cli.looking import beside, event_id, in_one_line, looking, readable, time
from diptych.cli.output import show, talk
from diptych.cli.rates import Rates
from diptych.events.recorded import StoredEvent
from diptych.messages import declared_events
from diptych.store.outside import OutsideLog

_COLUMNS: Final = (
    "position", "recorded_at", "stream", "version", "type", "schema_version", "command_id", "user_id", "payload"
)  # fmt: skip


def find_events(said: str | None, wanted: Wanted, bounds: Bounds, *, as_json: bool) -> int:
    """Write a line for each event, the newest first; return 1 when the code cannot read one."""

    async def look(_: App, known: Outline, log: OutsideLog) -> tuple[Outline, FoundEvents]:
        rates = Rates(log.place)
        try:
            return known, await search(log, wanted, bounds, lambda done, of: rates.tell("searching", done, of))
        finally:
            rates.stop()

    known, found = looking(said, look)
    lines = [_line(row, known, as_json=as_json) for row in found.events]
    show(_COLUMNS, lines, as_json=as_json)
    unreadable = [line["error"] for line in lines if "error" in line]
    for why in unreadable:
        talk(why)
    names = sorted({event.event_name for event in declared_events()})
    for name in wanted.types if not found.events else ():
        if name not in names:
            near = get_close_matches(name, names, 1)
            talk(f"This code has no event {name}.{f' Did you mean {near[0]}?' if near else ''}")
    talk(_told(found, bounds))
    return 1 if unreadable else 0


def _line(row: StoredEvent, known: Outline, *, as_json: bool) -> dict[str, Any]:
    payload, why = readable(row, known.codec)
    return {
        "position": row.position,
        "event_id": event_id(row),
        "recorded_at": time(row.recorded_at),
        "stream": str(row.stream),
        "version": row.version,
        "type": row.type,
        "schema_version": row.schema_version if why else known.codec.newest(row.type),
        **beside(row),
        "payload": in_one_line(payload, as_json=as_json),
        **({"error": why} if why else {}),
    }


def _told(found: FoundEvents, bounds: Bounds) -> str:
    low, high = found.scanned
    count = f"{len(found.events):,} event{'' if len(found.events) == 1 else 's'} found"
    if not found.head:
        return f"{count}: the log is empty"
    if low > high:
        return f"{count}: nothing was recorded then; there are positions 1 to {found.head:,}"
    more = f"--limit {bounds.events * 10}" if len(found.events) == bounds.events else f"--depth {bounds.positions * 10}"
    rest = "" if found.is_all else f". There may be more: {more}, or --until an earlier time"
    return f"{count}; looked through positions {low:,} to {high:,} of {found.head:,}{rest}"
