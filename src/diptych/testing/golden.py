"""Golden files: how each event is stored, kept beside the tests, so that a change of it is seen before it is shipped.

One file for each event and schema version, `OrderCreated.v1.json`. Those of the past are never written again: they
stand for what is in somebody's log, and must be read for as long as there is such a log.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from diptych.app.module import Module
from diptych.errors import DataError, UnknownEventTypeError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.events.upcasting import Upcasters
from diptych.messages import DomainEvent, declared_events

__tracebackhide__ = True  # pytest shows the line of the test, not ours

UPDATE = "--diptych-golden-update"


class Golden:
    """Holds samples of events against the files in a folder: `golden(OrderCreated(...), OrderCancelled(...), app=app)`.

    With `is_updated` (`pytest --diptych-golden-update`) it writes the files of today's versions, and checks the others.
    """

    def __init__(self, folder: Path, *, is_updated: bool = False) -> None:
        self.folder, self._is_updated = folder, is_updated

    def at(self, folder: str | Path) -> "Golden":
        """Return one for another folder, relative to this one's parent."""
        return Golden(self.folder.parent / folder, is_updated=self._is_updated)

    def __call__(self, *samples: DomainEvent, app: Module | None = None) -> None:
        """Check one sample of each event, and every file of the past; `app` has the upcasters.

        :raises AssertionError: listing each event that is stored otherwise than before, each file that cannot be read
            any more, and each event defined beside the samples that has none.
        """
        upcasters = Upcasters()
        for module in () if app is None else app.everything():
            upcasters.update(module.upcasters)
        codec = Codec(upcasters)
        problems = [told for sample in samples for told in self._check(codec, sample)]
        problems += self._without_file(samples)
        problems += _without_sample(samples)
        files = sorted(self.folder.glob("*.json"))
        problems += [told for path in files if (told := _unread(codec, path))]
        if problems:
            listed = "\n\n".join(problems)
            count = "" if len(problems) == 1 else f"{len(problems)} problems with stored events:\n\n"
            raise AssertionError(f"{count}{listed}")

    def _check(self, codec: Codec, sample: DomainEvent) -> Iterator[str]:
        written = codec.encode(sample)
        codec.verify(sample, written)
        path = self._path(type(sample))
        now = {"type": written.type, "schema_version": written.schema_version, "payload": json.loads(written.payload)}
        if self._is_updated:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(now, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        elif path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))["payload"]
            if told := _change(before, now["payload"]):
                yield f"{path}: {written.type} v{written.schema_version} {told}"

    def _without_file(self, samples: Sequence[DomainEvent]) -> list[str]:
        kinds = [type(sample) for sample in samples if not self._path(type(sample)).exists()]
        names = ", ".join(f"{cls.event_name} v{cls.schema_version}" for cls in kinds)
        return [f"No golden file for {names}. Type `pytest {UPDATE}`, and commit {self.folder}."] if kinds else []

    def _path(self, cls: type[DomainEvent]) -> Path:
        return self.folder / f"{quote(cls.event_name, safe='')}.v{cls.schema_version}.json"


def _change(before: Any, now: Any) -> str:
    """Say how a stored form changed and what that means, empty if it did not."""
    old, new = dict(_flat(before)), dict(_flat(now))
    if old == new:
        return ""
    lines = [f"  - {name} = {old[name]}" for name in old if old[name] != new.get(name)]
    lines += [f"  + {name} = {new[name]}" for name in new if new[name] != old.get(name)]
    shown = "\n".join(lines)
    if _kinds(old) == _kinds(new):
        return (
            f"has other values than its sample had before (- file, + sample):\n{shown}\n"
            "Keep samples as they were. If the same values are written otherwise now, see that the old ones are still "
            f"read as they were meant, then type `pytest {UPDATE}`."
        )
    return (
        f"is stored in another form than before (- file, + now):\n{shown}\n"
        "Events like the file are in logs already. Raise the version, class ...(DomainEvent, version=...), and write "
        "the step from the old form with @app.upcast(name, from_version); or leave the form as it was. Then type "
        f"`pytest {UPDATE}`. Only if this version was never shipped, type that alone."
    )


def _kinds(leaves: Mapping[str, str]) -> dict[str, type]:
    return {name: type(json.loads(text)) for name, text in leaves.items()}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf of a JSON value with its path, as JSON text: 1 and 1.0 are not the same there."""
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from _flat(part, f"{name}[{index}]")
    else:
        yield name or "payload", json.dumps(value, ensure_ascii=False)


def _unread(codec: Codec, path: Path) -> str:
    """Say why an event like this file could not be read from a log, empty if it can."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    name, version, payload = kept["type"], kept["schema_version"], json.dumps(kept["payload"])
    row = StoredEvent(1, "", "golden", "", 1, b"", name, version, 0, payload, "{}", 0, 0)
    try:
        codec.decode(row)
    except UnknownEventTypeError:
        newest = codec.newest(name)
        why = f"the class is at v{newest}" if newest is not None else "no class is stored under this name"
        return (
            f"{path}: {name} v{version} can no longer be read: {why}. If it was renamed, keep the stored name: "
            f'class ...(DomainEvent, name="{name}"). Delete the file only if no log holds such an event.'
        )
    except DataError as error:
        return (
            f"{path}: {name} v{version} can no longer be read: {getattr(error, 'why', error)}. Logs hold events like "
            f'it. Write the step from that form, @app.upcast("{name}", {version}), and say golden(..., app=app); or '
            "give new fields a default."
        )
    return ""


def _without_sample(samples: Sequence[DomainEvent]) -> list[str]:
    """Name the events defined beside the samples that have none. A class that others inherit from is none itself."""
    sampled = {type(sample) for sample in samples}
    modules = {cls.__module__ for cls in sampled if "<locals>" not in cls.__qualname__}
    missing = [
        cls
        for cls in declared_events()
        if cls.__module__ in modules
        and cls not in sampled
        and "<locals>" not in cls.__qualname__
        and not cls.__subclasses__()
    ]
    return [f"{cls.__module__}.{cls.__qualname__} has no sample. Give golden() one." for cls in _sorted(missing)]


def _sorted(classes: Sequence[type[DomainEvent]]) -> list[type[DomainEvent]]:
    return sorted(classes, key=lambda cls: (cls.__module__, cls.__qualname__))
