"""`events.lock`: what was ever stored, written down beside the code, so that a change is seen without a database.

Rule: it only grows; a version that was written down once is never taken out or changed by us.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from diptych.errors import ConfigurationError
from diptych.lint.facts import Facts, StoredClass
from diptych.lint.schemas import Schema, is_readable

FILE: Final = "events.lock"
_ABOUT: Final = "Written by `diptych event lock`. Commit it. What is in here may be stored: nothing is taken out."


class Locked(NamedTuple):
    """One version of a stored name: the schema of each field, as it is stored."""

    fields: Mapping[str, Schema]


Lock = Mapping[str, Mapping[int, Locked]]
"""By stored name and schema version."""


class Grown(NamedTuple):
    """A lock with what is new in it. `added` are sentences for people; `refused` what would change what is stored.

    `gone` are names that no class has any more.
    """

    lock: Lock
    added: list[str]
    refused: list[str]
    gone: list[str]


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


def lock_text(file: Path) -> str:
    """Return the text of the lock of an app; nothing where there is none. :raises ConfigurationError: it is no text."""
    at = find_lock(file)
    try:
        return at.read_text("utf-8") if at.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{at} cannot be read: {error}") from error


def stored_classes(facts: Facts) -> list[StoredClass]:
    """Return the event classes that are written: not those that are only inherited from, or inside functions."""
    return [each for each in facts.events if not each.is_base and "<locals>" not in each.where.name]


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


def locked(facts: Facts) -> Lock:
    """Return the lock of an app; an empty one where it cannot be read, which `diptych event lock` tells of."""
    try:
        return read_lock(facts.lock)
    except ConfigurationError:
        return {}


def write_lock(lock: Lock) -> str:
    """Return a lock as text: sorted, a line for each field, so that a change of one is a line in a review."""
    names = []
    for name, versions in sorted(lock.items()):
        each = [f"      {json.dumps(str(version))}: {_fields(one)}" for version, one in sorted(versions.items())]
        names.append(f"    {json.dumps(name)}: {{\n" + ",\n".join(each) + "\n    }")
    body = "{\n" + ",\n".join(names) + "\n  }" if names else "{}"
    return f'{{\n  "about": {json.dumps(_ABOUT)},\n  "events": {body}\n}}\n'


def grow(lock: Lock, events: Iterable[StoredClass]) -> Grown:
    """Add what the code has and the lock has not.

    A field that has a default is added to the version it was added to. A version with a field that is gone or takes
    less is refused: old payloads have it, so the class needs a new version.
    """
    grown = {name: dict(versions) for name, versions in lock.items()}
    added, refused, classes = list[str](), list[str](), set[str]()
    for event in sorted(events, key=lambda one: (one.event, one.version)):
        classes.add(event.event)
        mine = {name: json.loads(shape) for name, shape in event.fields.items()}
        versions = grown.setdefault(event.event, {})
        known, called = versions.get(event.version), f"{event.event} v{event.version}"
        if known is None:
            versions[event.version] = Locked(mine)
            added.append(called)
            continue
        wrong = [*removed(known, event), *narrowed(known, event), *demanded(known, event)]
        refused += [f"{called}: {name} is {what}" for name, what in wrong]
        if not wrong and mine != known.fields:
            versions[event.version] = Locked({**known.fields, **mine})
            new = [name for name in mine if name not in known.fields]
            added.append(f"{called}: {', '.join(new)}" if new else f"{called}: its fields take more than before")
    return Grown(grown, added, refused, [name for name in lock if name not in classes])


def removed(known: Locked, event: StoredClass) -> list[tuple[str, str]]:
    """Fields that were stored and that the class does not have."""
    return [(name, "gone") for name in known.fields if name not in event.fields]


def narrowed(known: Locked, event: StoredClass) -> list[tuple[str, str]]:
    """Fields that no longer take all that was stored."""
    return [
        (name, "read in another way than it was stored")
        for name, shape in known.fields.items()
        if name in event.fields and not _takes(event, name, shape)
    ]


def _takes(event: StoredClass, name: str, shape: Schema) -> bool:
    """Whether a field takes what was stored; one that writes it just as before surely does."""
    return any(is_readable(json.loads(shapes[name]), shape) for shapes in (event.fields, event.read))


def demanded(known: Locked, event: StoredClass) -> list[tuple[str, str]]:
    """Fields that old payloads lack and the class requires."""
    return [(name, "new and has no default") for name in sorted(event.required) if name not in known.fields]


def _fields(one: Locked) -> str:
    if not one.fields:
        return "{}"
    lines = [f"        {json.dumps(name)}: {_schema(schema)}" for name, schema in sorted(one.fields.items())]
    return "{\n" + ",\n".join(lines) + "\n      }"


def _schema(schema: Any) -> str:
    return json.dumps(schema, sort_keys=True, ensure_ascii=False)
