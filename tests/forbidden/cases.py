"""Every way that is tried, and the table of them in the docs."""

from tests.forbidden.reading import READING
from tests.forbidden.repeating import REPEATING
from tests.forbidden.way import Thing, Way
from tests.forbidden.writing import WRITING

WAYS: tuple[Way, ...] = (*READING, *WRITING, *REPEATING)


def tables() -> str:
    """Return the tables as the page shows them."""
    parts = []
    for thing in Thing:
        names = dict.fromkeys(way.name for way in WAYS if way.thing is thing)
        lines = [f"| {thing.value} | SQLite | PostgreSQL |", "|---|---|---|"]
        lines += [f"| {name} | {_told(thing, name, 'sqlite')} | {_told(thing, name, 'postgres')} |" for name in names]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _told(thing: Thing, name: str, store: str) -> str:
    for way in WAYS:
        if (way.thing, way.name) == (thing, name) and store in way.stores:
            return way.told
    return "there is none"
