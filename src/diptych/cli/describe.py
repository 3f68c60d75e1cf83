"""`diptych describe`: what is wired, and where it was written. Nothing is started."""

from collections.abc import Iterator
from typing import Any

from diptych.app.application import App
from diptych.cli.output import show, talk
from diptych.errors import ConfigurationError
from diptych.handlers import Handlers, signature, where
from diptych.messages import result_type
from diptych.projections.definition import define_all
from diptych.projections.plan import Definition

COLUMNS = ("kind", "name", "detail", "where")

Row = dict[str, Any]


def describe(app: App, *, as_json: bool) -> None:
    """Write a line for each command, query and projection. :raises ConfigurationError: a projection is wrong."""
    modules = app.everything()
    rows = [row for module in modules for row in _handled("command", module.command_handlers)]
    rows += [row for module in modules for row in _handled("query", module.query_handlers)]
    modes = {cls: mode for module in modules for cls, mode in module.projected.items()}
    rows += [_projection(definition) for definition in define_all(modes.items())]
    if not as_json:
        talk(f"{app.url}, {app.mode}")
    show(COLUMNS, rows, as_json=as_json)


def _handled(kind: str, handlers: Handlers) -> Iterator[Row]:
    for message, handler, _ in handlers.items():
        yield _message(kind, message, handler)
    for handler, names in handlers.decorated:
        try:
            read = signature(handler, names)
        except (NameError, TypeError) as error:
            raise ConfigurationError(f"{where(handler)}: {error}") from error
        if read.message is not None:
            yield _message(kind, read.message.annotation, handler)


def _message(kind: str, message: Any, handler: Any) -> Row:
    result = result_type(message)
    name = result.__name__ if isinstance(result, type) and not hasattr(result, "__args__") else str(result)
    detail = f"-> {'None' if result in (None, type(None)) else name.replace('typing.', '')}"
    place = where(getattr(handler, "handle", handler))
    return {"kind": kind, "name": message.__name__, "detail": detail, "where": place}


def _projection(definition: Definition) -> Row:
    tables = ", ".join(table.name for table in definition.tables.tables)
    kind = f"{definition.mode}{', isolated' if definition.is_isolated else ''}"
    detail = f"{', '.join(sorted(definition.takes))} -> {tables} ({kind})"
    return {"kind": "projection", "name": definition.name, "detail": detail, "where": definition.where}
