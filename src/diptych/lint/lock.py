"""`events.lock`: what was ever stored, written down beside the code, so that a change is seen without a database.

Rule: it only grows; a version that was written down once is never taken out or changed by us.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from diptych.errors import ConfigurationError
from diptych.lint.facts import EventFact, Schema
from diptych.lint.schemas import is_readable

FILE: Final = "events.lock"
_ABOUT: Final = "Written by `diptych event lock`. Commit it. What is in here may be stored: nothing is taken out."


class Locked(NamedTuple):
    """One version of a stored name: the schema of each field, as it is stored."""

    fields: Mapping[str, Schema]


Lock = Mapping[str, Mapping[int, Locked]]
"""By stored name and schema version."""


class Grown(NamedTuple):
    """A lock with what is new in it. `added` are sentences for people; `refused` what would change what is stored."""

    lock: Lock
    added: list[str]
    refused: list[str]


def find_lock(file: Path) -> Path:
    """Return where the lock of an app is: beside its file or above, up to pyproject.toml; beside it, if not yet there.

    The folder with pyproject.toml is the last one looked into.
    """
    for folder in file.resolve().parents:
        if (folder / FILE).is_file():
            return folder / FILE
        if (folder / "pyproject.toml").is_file():
            break
    return file.resolve().parent / FILE


def read_lock(text: str) -> Lock:
    """Read a lock; an empty text is an empty one. :raises ConfigurationError: it is none."""
    if not text.strip():
        return {}
    try:
        return {
            name: {int(version): Locked(dict(fields)) for version, fields in versions.items()}
            for name, versions in json.loads(text)["events"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{FILE} cannot be read: {error!r}. Take it from version control again, then: diptych event lock"
        ) from error


def write_lock(lock: Lock) -> str:
    """Return a lock as text: sorted, a line for each field, so that a change of one is a line in a review."""
    names = []
    for name, versions in sorted(lock.items()):
        each = [f"      {json.dumps(str(version))}: {_fields(one)}" for version, one in sorted(versions.items())]
        names.append(f"    {json.dumps(name)}: {{\n" + ",\n".join(each) + "\n    }")
    body = "{\n" + ",\n".join(names) + "\n  }" if names else "{}"
    return f'{{\n  "about": {json.dumps(_ABOUT)},\n  "events": {body}\n}}\n'


def grow(lock: Lock, events: Iterable[EventFact]) -> Grown:
    """Add what the code has and the lock has not.

    A field that has a default is added to the version it was added to. A version with a field that is gone or is
    stored in another way is refused: old payloads have it, so it needs a new version.
    """
    grown = {name: dict(versions) for name, versions in lock.items()}
    added, refused = list[str](), list[str]()
    for event in sorted(events, key=lambda one: (one.stored_name, one.version)):
        mine = {name: field.stored for name, field in sorted(event.fields.items())}
        versions = grown.setdefault(event.stored_name, {})
        known = versions.get(event.version)
        called = f"{event.stored_name} v{event.version}"
        if known is None:
            versions[event.version] = Locked(mine)
            added.append(called)
            continue
        wrong = list(_changed(known, event))
        refused += [f"{called}: {problem}" for problem in wrong]
        if not wrong and mine != known.fields:
            new = [name for name in mine if name not in known.fields]
            versions[event.version] = Locked({**known.fields, **mine})
            added.append(f"{called}: {', '.join(new)}" if new else f"{called}: its fields take more than before")
    return Grown(grown, added, refused)


def _changed(known: Locked, event: EventFact) -> Iterable[str]:
    for name, schema in known.fields.items():
        if name not in event.fields:
            yield f"{name} is gone"
        elif not is_readable(event.fields[name].read, schema):
            yield f"{name} no longer takes what was stored"
    for name, field in event.fields.items():
        if name not in known.fields and field.is_required:
            yield f"{name} is new and has no default"


def _fields(one: Locked) -> str:
    if not one.fields:
        return "{}"
    lines = [f"        {json.dumps(name)}: {_schema(schema)}" for name, schema in sorted(one.fields.items())]
    return "{\n" + ",\n".join(lines) + "\n      }"


def _schema(schema: Any) -> str:
    return json.dumps(schema, sort_keys=True, ensure_ascii=False)
