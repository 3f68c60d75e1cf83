"""What is wrong with the class of a saga is said when it is made or at start, once, with the line and what to write."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from diptych import App, Command, CommandBus, ConfigurationError, Rejected, Repository, Saga, Steps, new_id, on, step
from tests.sagas.shop import Fulfilment, Order, OrderPaid, OrderPlaced, PaymentDue, shop

pytestmark = pytest.mark.anyio


class Unhandled(Command):
    pass


class Opaque:
    pass


class Placing(Steps):
    """What each of the following has."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @step
    async def first(self) -> None: ...


async def problems(saga: Any) -> tuple[str, ...]:
    """What a start says of it."""
    app = App("memory:")
    app.include(shop())
    app.saga(saga)
    with pytest.raises(ConfigurationError) as error:
        await app.__aenter__()
    return error.value.problems


class NoAnnotation(Saga):
    @on(starts=True)
    def placed(self, event) -> None: ...  # type: ignore[no-untyped-def]


class UnknownName(Saga):
    @on(starts=True)
    def placed(self, event: "Nonsense") -> None: ...  # type: ignore[name-defined]  # noqa: F821


class Forgotten(Saga):
    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        self._note(event)

    def paid(self, event: OrderPaid) -> None: ...

    def _note(self, event: OrderPlaced) -> None: ...


class Overridden(Fulfilment):
    def unpaid(self, timeout: PaymentDue) -> None: ...


class OpaqueMemory(Saga):
    it: Opaque | None = None

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...


class OpaqueDefault(Saga):
    it: Any = Opaque()

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...


class WrongDefault(Saga):
    count: int = "none"  # type: ignore[assignment]

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...


class RejectionOfNobody(Saga):
    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @on
    def refused(self, rejection: Rejected[Unhandled]) -> None: ...


class PlainWithParameter(Placing):
    @step
    def plain(self, bus: Opaque) -> Command | None: ...


class PlainMakesText(Placing):
    @step
    def plain(self) -> str:
        return "told"


class PlainForNobody(Placing):
    @step
    def plain(self) -> Unhandled | None: ...


class UndoForNobody(Placing):
    @step
    async def call(self) -> None: ...

    @call.undo
    def undone(self) -> Unhandled:
        return Unhandled()


class NoAttempts(Placing):
    @step(attempts=0)
    async def call(self) -> None: ...


class NoTime(Placing):
    @step(deadline=timedelta(0))
    async def call(self) -> None: ...


class SecondsForTime(Placing):
    @step(deadline=5)  # type: ignore[call-overload, untyped-decorator]
    async def call(self) -> None: ...


class NoTimeout(Placing):
    @step(timeout=timedelta(0))
    async def call(self) -> None: ...


class AsksForCommands(Placing):
    @step
    async def call(self, commands: CommandBus) -> None: ...


@pytest.mark.parametrize(
    ("saga", "told"),
    [
        (NoAnnotation, "NoAnnotation.placed: parameter event needs an annotation"),
        (UnknownName, "name 'Nonsense' is not defined; annotate it with names that can be imported"),
        (Forgotten, "Forgotten.paid: it takes OrderPaid and nobody calls it; write @on, or begin its name with _"),
        (Overridden, "Overridden.unpaid: it takes PaymentDue and nobody calls it"),
        (OpaqueMemory, "OpaqueMemory: it is a tests.sagas.test_declared_wrongly.Opaque | None, which JSON cannot hold"),
        (OpaqueDefault, "OpaqueDefault: its defaults cannot be written down: Unable to serialize unknown type"),
        (WrongDefault, "WrongDefault: its defaults cannot be written down: count: Input should be a valid integer"),
        (RejectionOfNobody, "RejectionOfNobody: Unhandled has no handler"),
        (PlainWithParameter, "PlainWithParameter.plain: it takes bus; a plain step takes nothing"),
        (PlainMakesText, "PlainMakesText.plain: it returns <class 'str'>; a plain step returns the command to send"),
        (PlainForNobody, "PlainForNobody: Unhandled has no handler"),
        (UndoForNobody, "UndoForNobody: Unhandled has no handler"),
        (NoAttempts, "NoAttempts.call: attempts=0; it is tried once at least"),
        (NoTime, "NoTime.call: deadline=datetime.timedelta(0); write a timedelta above 0"),
        (SecondsForTime, "SecondsForTime.call: deadline=5; write a timedelta above 0"),
        (NoTimeout, "NoTimeout.call: timeout=datetime.timedelta(0); write a timedelta above 0, or None for no limit"),
        (AsksForCommands, "a step sends a command by returning it"),
        (Order, "Order'> is no Saga; write app.saga(YourSaga), with the class"),
        (Placing(new_id(), "key"), "Placing(key) is no Saga; write app.saga(YourSaga), with the class"),
    ],
)
async def test_what_is_wrong_with_a_class_is_one_sentence(saga: Any, told: str) -> None:
    """Some started, and every saga got stuck; others were a traceback, or two sentences, one of them wrong."""
    (problem,) = await problems(saga)
    assert told in problem
    assert problem.count("test_declared_wrongly.py:") <= 1


def names_of_the_loop() -> list[Callable[[], type[Steps]]]:
    """Classes whose attributes hide what the loop calls."""

    def overdue() -> type[Steps]:
        class Overdue(Placing):
            def overdue(self, due: Any) -> None: ...

        return Overdue

    def results() -> type[Steps]:
        class Results(Placing):
            results: int = 0  # type: ignore[assignment]

        return Results

    return [overdue, results]


@pytest.mark.parametrize("make", names_of_the_loop())
def test_what_the_steps_are_run_with_cannot_be_hidden(make: Callable[[], type[Steps]]) -> None:
    """A method called overdue took what belongs to the deadline of a step."""
    with pytest.raises(TypeError, match="this name is reserved by Diptych"):
        make()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"attempts": "many"}, "attempts='many'; it is tried once at least"),
        ({"attempts": 0}, "attempts=0; it is tried once at least"),
        ({"timeout": 5}, "timeout=5; write a timedelta above 0"),
        ({"begins": "now"}, "begins='now'; it is head or beginning"),
    ],
)
async def test_what_is_wrong_with_a_reaction_is_said_with_its_place(options: dict[str, Any], told: str) -> None:
    app = App("memory:")

    @app.reaction(**options)
    async def mail(event: OrderPlaced) -> None: ...

    with pytest.raises(ConfigurationError, match=f"mail: {told}"):
        await app.__aenter__()


async def test_a_reaction_that_asks_for_a_repository_is_told_what_to_ask_for() -> None:
    app = App("memory:")

    @app.reaction
    async def mail(event: OrderPlaced, orders: Repository[Order]) -> None: ...

    with pytest.raises(ConfigurationError, match="a reaction changes no aggregate itself; ask for a CommandBus"):
        await app.__aenter__()


def test_the_name_of_a_reaction_is_an_option() -> None:
    with pytest.raises(TypeError, match=r"write @app.reaction\(name='receipts'\)"):
        App("memory:").reaction("receipts")  # type: ignore[call-overload]
