"""An event store whose appends do what a test says, in an app that runs."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from diptych import App
from diptych.store.protocols import Append, Appended
from diptych.subscriptions.tasks import Task

Append_ = Callable[[Append], Awaitable[Appended]]


def on_append(
    app: App, monkeypatch: pytest.MonkeyPatch, instead: Callable[[Append, Append_], Awaitable[Appended]]
) -> None:
    """Have each append of this app pass through `instead`, which is given the append and what would store it."""
    store = app.events
    append: Append_ = store.append

    async def through(one: Append) -> Appended:
        return await instead(one, append)

    monkeypatch.setattr(store, "append", through)


def is_turn(append: Append) -> bool:
    """Whether it is a lane's, and no command's."""
    return append.command is None and append.beside is not None and bool(append.beside.moves)


def is_sent(append: Append, command: str) -> bool:
    """Whether it is of a command of this name that a saga sent."""
    return append.command is not None and append.beside is not None and append.command.key.command_type == command


def tasks_of(append: Append) -> list[Task]:
    """The tasks that it writes."""
    changes = [] if append.beside is None else append.beside.changes
    return [row for change in changes for row in change.upserts if isinstance(row, Task)]


async def rows(app: App, table: Any, where: str = "1 = 1") -> list[Any]:
    """The rows of a duty's table."""
    async with app.events.inline.reader() as session:
        columns = ", ".join(column.name for column in table.columns)
        found = await session.fetch(f"SELECT {columns} FROM {table.name} WHERE {where}", {})
        return list(session.decode(table, found))
