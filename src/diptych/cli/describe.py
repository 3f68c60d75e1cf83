"""`diptych describe`: what is wired and configured, and where it was written. Nothing is started."""

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from diptych.app.application import App
from diptych.app.outline import Outline, outline
from diptych.cli.output import show, talk
from diptych.errors import ConfigurationError
from diptych.events.upcasting import Upcasters
from diptych.handlers import Handlers, signature, where
from diptych.messages import DomainEvent, declared_events, result_type
from diptych.projections.plan import Definition
from diptych.sagas.stepped import SagaStepped
from diptych.store.opening import open_stores, shown
from diptych.store.tables import fingerprint
from diptych.write.aggregate import appliers

COLUMNS: Final = ("kind", "name", "detail", "where")
_SECRET: Final = ("SECRET", "TOKEN", "KEY", "PASSWORD")

Row = dict[str, Any]


def describe(app: App, *, as_json: bool) -> None:
    """Write a line for everything. :raises ConfigurationError: listing all that is wrong."""
    modules, problems, known = app.everything(), list[str](), outline(app)
    rows = [row for module in modules for row in _handled("command", module.command_handlers, problems)]
    rows += [row for module in modules for row in _handled("query", module.query_handlers, problems)]
    rows += _aggregates(known)
    rows += _events(known, [module.upcasters for module in modules])
    rows += [_projection(definition) for definition in known.definitions]
    rows += [_row(duty.kind, duty.name, duty.detail, duty.where) for duty in known.duties]
    rows += [_row("provider", _name(what), _name(by), _place(by)) for one in modules for what, by, _ in one.provided]
    for kind, wrappers in zip(("command", "query"), app.wrapped_by, strict=True):
        rows += [_row("middleware", _name(each), f"around every {kind}", _place(each)) for each in wrappers]
    problems = list(dict.fromkeys([*problems, *known.problems]))
    if problems:
        raise ConfigurationError(problems)
    rows += _settings(app)
    if not as_json:
        talk(f"{shown(app.url)}, {app.mode}")
    show(COLUMNS, rows, as_json=as_json)


def _handled(kind: str, handlers: Handlers, problems: list[str]) -> Iterator[Row]:
    for message, handler, _ in handlers.items():
        yield _message(kind, message, handler)
    for handler, names in handlers.decorated:
        try:
            read = signature(handler, names)
        except (NameError, TypeError) as error:
            problems.append(f"{where(handler)}: {error}")
            continue
        if read.message is not None:
            yield _message(kind, read.message.annotation, handler)


def _message(kind: str, message: Any, handler: Any) -> Row:
    result = result_type(message)
    name = result.__name__ if isinstance(result, type) and not hasattr(result, "__args__") else str(result)
    detail = f"-> {'None' if result in (None, type(None)) else name.replace('typing.', '')}"
    return _row(kind, message.__name__, detail, where(getattr(handler, "handle", handler)))


def _aggregates(known: Outline) -> Iterator[Row]:
    for name, cls in known.aggregates.items():
        events = ", ".join(event.event_name for event in appliers(cls)) or "no event changes its state"
        yield _row("aggregate", name, events, where(cls))


def _events(known: Outline, upcasters: list[Upcasters]) -> Iterator[Row]:
    """The events that aggregates and projections name, and those that are only declared: they may be recorded."""
    of_aggregates = [event for cls in known.aggregates.values() for event in appliers(cls)]
    of_projections = [event for definition in known.definitions for event in definition.events]
    of_duties = [event for duty in known.duties for event in duty.events]
    has_sagas = any(duty.kind == "saga" for duty in known.duties)
    ours = () if has_sagas else (SagaStepped,)
    declared = sorted({*declared_events()}.difference(ours), key=lambda event: event.event_name)
    for event in dict.fromkeys([*of_aggregates, *of_projections, *of_duties, *declared]):
        yield _row("event", event.event_name, _versions(known, event, upcasters), where(event))


def _versions(known: Outline, event: type[DomainEvent], upcasters: list[Upcasters]) -> str:
    name, newest = event.event_name, event.schema_version
    steps = [version for version in range(1, newest) if any(each.leads_from(name, version) for each in upcasters)]
    taken = [definition.name for definition in known.definitions if name in definition.takes]
    taken += [duty.name for duty in known.duties if event in duty.events]
    brought = f", brought up from {', '.join(f'v{version}' for version in steps)}" if steps else ""
    return f"v{newest}{brought}{' -> ' if taken else ''}{', '.join(taken)}"


def _projection(definition: Definition) -> Row:
    tables = ", ".join(table.name for table in definition.tables.tables)
    shape = blake2b(fingerprint(definition.tables.tables).encode(), digest_size=4).hexdigest()
    how = [definition.mode, *(["isolated"] if definition.is_isolated else ())]
    kind = ", ".join([*how, f"version {definition.tables.version}", f"shape {shape}"])
    detail = f"{', '.join(sorted(definition.takes))} -> {tables} ({kind})"
    return _row("projection", definition.name, detail, definition.where)


def _settings(app: App) -> Iterator[Row]:
    """What the app was made with, what its URL makes of the store's settings, and the environment's part in it."""
    for name, value in app.chosen.items():
        if value is not None:
            yield _row("setting", name, shown(str(value)), "App(...)")
    settings = open_stores(app.url, views=app.views_url).settings
    said = app.url.partition("?")[2]
    of_store = {**settings._asdict(), **settings.limits._asdict()}
    del of_store["limits"]
    for name, value in of_store.items():
        yield _row("setting", name, str(value), "URL" if f"{name}=" in said else "default")
    for name in sorted(os.environ):
        if name.startswith("DIPTYCH_"):
            is_secret = any(word in name for word in _SECRET)
            yield _row("environment", name, "***" if is_secret else shown(os.environ[name]), "")


def _place(thing: Any) -> str:
    """Where a class, a function or an object's class was written."""
    is_code = isinstance(thing, type) or hasattr(thing, "__code__") or hasattr(thing, "__wrapped__")
    return where(thing if is_code else type(thing))


def _name(thing: Any) -> str:
    return getattr(thing, "__name__", None) or repr(thing).replace("typing.", "")


def _row(kind: str, name: str, detail: str, place: str) -> Row:
    return {"kind": kind, "name": name, "detail": detail, "where": place.removeprefix(f"{Path.cwd()}/")}
