"""What a handler returns is what its command declares, or the command is refused and nothing is stored."""

from typing import Any
from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, DomainEvent, Repository, new_id
from diptych.errors import ProgrammingError

pytestmark = pytest.mark.anyio


class Rung(DomainEvent):
    pass


class Bell(Aggregate):
    pass


class Ring(Command):
    bell_id: UUID


class Count(Command[int]):
    bell_id: UUID


class Look(Command[int | None]):
    bell_id: UUID


def bells(returned: Any) -> App:
    app = App(mode="development")

    async def ring(command: Ring, bells: Repository[Bell]) -> None:
        (await bells.get_or_new(command.bell_id)).record(Rung())
        return returned  # type: ignore[no-any-return]

    async def count(command: Count, bells: Repository[Bell]) -> int:
        (await bells.get_or_new(command.bell_id)).record(Rung())
        return returned  # type: ignore[no-any-return]

    async def look(command: Look, bells: Repository[Bell]) -> int | None:
        (await bells.get_or_new(command.bell_id)).record(Rung())
        return returned  # type: ignore[no-any-return]

    for handler in (ring, count, look):
        app.command_handler(handler)
    return app


@pytest.mark.parametrize(
    ("kind", "returned"), [(Ring, 5), (Ring, ""), (Ring, 0), (Count, None), (Count, "5"), (Look, "5")]
)
async def test_what_the_command_does_not_declare_is_refused(kind: type[Command[Any]], returned: Any) -> None:
    """C1: a first answer that nobody could read again is never stored."""
    async with bells(returned) as app:
        with pytest.raises(ProgrammingError, match=f"handler of {kind.__name__} returned"):
            await app.commands.dispatch(kind.model_validate({"bell_id": new_id()}))
        assert (await app.events.head()).position == 0


@pytest.mark.parametrize(("kind", "returned"), [(Ring, None), (Count, 5), (Look, None), (Look, 5)])
async def test_what_it_declares_is_answered_again(kind: type[Command[Any]], returned: Any) -> None:
    """C1"""
    async with bells(returned) as app:
        once, command = new_id(), kind.model_validate({"bell_id": new_id()})
        first = await app.commands.dispatch(command, command_id=once)
        again = await app.commands.dispatch(command, command_id=once)
        assert (first.result, again.result, again.position) == (returned, returned, first.position)
