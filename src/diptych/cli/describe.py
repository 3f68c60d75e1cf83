"""`diptych describe`: what is wired, and where it was written. Nothing is started."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diptych.app.application import App
from diptych.cli.output import show, talk
from diptych.errors import ConfigurationError
from diptych.handlers import Handlers, signature, where
from diptych.messages import result_type
from diptych.projections.definition import define_all
from diptych.projections.plan import Definition
from diptych.store.opening import shown

COLUMNS = ("kind", "name", "detail", "where")

Row = dict[str, Any]


def describe(app: App, *, as_json: bool) -> None:
    """Write a line for each command, query and projection. :raises ConfigurationError: listing all that is wrong."""
    modules, problems = app.everything(), list[str]()
    rows = [row for module in modules for row in _handled("command", module.command_handlers, problems)]
    rows += [row for module in modules for row in _handled("query", module.query_handlers, problems)]
    modes = {cls: mode for module in modules for cls, mode in module.projected.items()}
    try:
        rows += [_projection(definition) for definition in define_all(modes.items())]
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise ConfigurationError(problems)
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


def _projection(definition: Definition) -> Row:
    tables = ", ".join(table.name for table in definition.tables.tables)
    kind = f"{definition.mode}{', isolated' if definition.is_isolated else ''}"
    detail = f"{', '.join(sorted(definition.takes))} -> {tables} ({kind})"
    return _row("projection", definition.name, detail, definition.where)


def _row(kind: str, name: str, detail: str, place: str) -> Row:
    return {"kind": kind, "name": name, "detail": detail, "where": place.removeprefix(f"{Path.cwd()}/")}
