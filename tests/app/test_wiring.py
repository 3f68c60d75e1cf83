"""Faults of wiring: each found at the start, with its place and what to write."""

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest

from diptych import App, Command, CommandHandler, Repository
from diptych.errors import ConfigurationError

pytestmark = pytest.mark.anyio


class Pay(Command):
    pass


class Refund(Command):
    pass


class Rates:
    """What is provided here, callable as many policies are."""

    def __init__(self, rate: str = "1.5") -> None:
        self.rate = Decimal(rate)

    def __call__(self) -> str:
        return "called"


class PayHandler(CommandHandler[Pay]):
    async def handle(self, command: Pay) -> None: ...


async def faults(app: App) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        async with app:
            pass
    return refused.value.problems


async def test_handlers_registered_for_what_they_do_not_take() -> None:
    app = App()

    async def refund(command: Refund) -> None: ...
    async def nothing() -> None: ...

    register: Any = app.commands.register
    register(Pay, refund)
    register(Refund, nothing)
    assert [fault.partition("; ")[0].rpartition(": ")[2] for fault in await faults(app)] == [
        "its first parameter is Refund, but it is registered for Pay",
        "its first parameter is None, but it is registered for Refund",
    ]


async def test_a_class_in_place_of_an_object() -> None:
    app = App()
    register: Any = app.commands.register
    register(Pay, PayHandler)
    assert "register an object: PayHandler(...)" in (await faults(app))[0]


@pytest.mark.parametrize("annotation", [Repository, Repository[int]])  # type: ignore[type-var]
async def test_a_repository_of_no_aggregate(annotation: Any) -> None:
    app = App()

    async def pay(command: Pay, repository: Any) -> None: ...

    pay.__annotations__["repository"] = annotation
    app.command_handler(pay)
    (fault,) = await faults(app)
    assert "test_wiring.py:" in fault
    assert "Repository[YourAggregate]" in fault


async def test_two_commands_of_one_name_c1() -> None:
    """A command id is remembered with the name: the second command would be answered with the first one's receipt."""
    app = App()
    namesake = type("Pay", (Command,), {"__module__": "elsewhere"})

    async def pay(command: Pay) -> None: ...
    async def other(command: Any) -> None: ...

    other.__annotations__["command"] = namesake
    app.command_handler(pay)
    app.command_handler(other)
    assert "elsewhere.Pay has the name of a command of" in (await faults(app))[0]


async def given_to_a_handler(provided: Any) -> Any:
    app, seen = App(), list[Any]()
    app.provide(Rates, provided)

    @app.command_handler
    async def pay(command: Pay, rates: Rates) -> None:
        seen.append(rates)

    async with app:
        await app.commands.dispatch(Pay())
    return seen[0]


async def test_an_object_that_can_be_called_is_still_an_object() -> None:
    rates = Rates()
    assert await given_to_a_handler(rates) is rates


async def test_a_partial_function_makes_what_it_makes() -> None:
    assert (await given_to_a_handler(partial(Rates, "3"))).rate == 3


async def test_a_class_whose_annotations_cannot_be_read_is_made_from_its_defaults() -> None:
    """Classes of other packages name things in annotations that only type checkers see."""

    class Foreign:
        def __init__(self, verify: "NotHere" = 1) -> None:  # type: ignore[name-defined]  # noqa: F821
            self.verify = verify

    assert (await given_to_a_handler(Foreign)).verify == 1
    assert isinstance(await given_to_a_handler(httpx.AsyncClient), httpx.AsyncClient)


async def test_what_cannot_be_made_says_where_it_is_written() -> None:
    def generator() -> Iterator[Rates]:
        yield Rates()

    def unreadable(rate: "NotHere") -> Rates:  # type: ignore[name-defined]  # noqa: F821
        return Rates(rate)

    for provided, sentence in ((generator, "write async def"), (unreadable, "name 'NotHere' is not defined")):
        app = App()
        app.provide(Rates, provided)

        @app.command_handler
        async def pay(command: Pay, rates: Rates) -> None: ...

        (fault,) = await faults(app)
        assert "test_wiring.py:" in fault
        assert sentence in fault


async def test_a_default_does_not_hide_that_what_is_provided_is_broken() -> None:
    app = App()

    async def broken(missing: Decimal) -> AsyncIterator[Rates]:
        yield Rates()

    app.provide(Rates, broken)

    @app.command_handler
    async def refund(command: Refund, rates: Rates = Rates()) -> None: ...  # noqa: B008 - a default is the point here

    (fault,) = await faults(app)
    assert "nobody provides Decimal" in fault
