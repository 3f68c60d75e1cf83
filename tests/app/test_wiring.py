"""Faults of wiring: each found at the start, with its place and what to write."""

from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest

from diptych import Aggregate, App, Command, CommandHandler, IdempotencyKey, Query, Repository, on
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


async def test_a_fault_names_its_place_once_and_types_as_one_writes_them() -> None:
    app = App()

    class Weigh(Query[int]):
        pass

    class Count(Query):
        pass

    class Tagged(Aggregate):
        @on
        def _paid(self, event: Pay) -> None: ...

    @app.command_handler
    async def pay(command) -> None: ...  # type: ignore[no-untyped-def]

    @app.command_handler  # type: ignore[type-var]
    async def weigh(query: Weigh) -> int: ...  # type: ignore[empty-body]

    @app.query_handler
    async def count(query: Count) -> int: ...  # type: ignore[empty-body]

    @app.command_handler
    async def refund(command: Refund, tagged: Repository[Tagged]) -> None: ...

    found = await faults(app)
    for sentence in (
        ".pay: parameter command needs an annotation; annotate it with names that can be imported",
        ".weigh: its first parameter is Weigh; write @app.query_handler",
        ".count: it returns int, Count declares None; make them agree, as in class Count(Query[int])",
        "._paid: takes Pay; write def _paid(self, event: YourEvent)",
    ):
        assert [one for one in found if one.endswith(sentence)], sentence
    assert all(one.count("test_wiring.py:") == 1 for one in found)


@pytest.mark.parametrize(
    ("returns", "declared", "is_refused"),
    [
        (str, UUID, True),
        (UUID, str, True),
        (int, UUID, True),
        (int, float, False),
        (bool, int, False),
        (datetime, date, False),
        (IdempotencyKey, str, False),
        (Any, UUID, False),
        (UUID | None, UUID, False),
    ],
)
async def test_a_handler_that_surely_returns_another_type_is_refused(
    returns: Any, declared: Any, is_refused: bool
) -> None:
    class Make(Command[declared]):
        pass

    async def make(command: Make) -> Any: ...

    make.__annotations__["return"] = returns
    app = App()
    app.commands.register(Make, make)
    if is_refused:
        assert (await faults(app))[0].endswith(
            f"it returns {returns.__name__}, Make declares {declared.__name__}; make them agree"
        )
    else:
        async with app:
            assert app.is_running


@pytest.mark.parametrize("decorator", ["command_handler", "query_handler"])
def test_what_a_handler_takes_is_said_by_its_parameter_alone(decorator: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^@app\.{decorator}\(Pay\): write @app\.{decorator} alone"):
        getattr(App(), decorator)(Pay)
