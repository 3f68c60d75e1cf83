"""A store that does not answer, answers too late, or refuses: a saga goes on by itself, and does nothing twice."""

from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, DomainError, DomainEvent, Rejected, Repository, Saga, new_id, on
from diptych.errors import RowChangedError, StoreUnavailableError, UnknownOutcomeError
from diptych.sagas.row import saga_table
from diptych.store.protocols import Append, Appended, CommandKeyTaken
from diptych.stream import StreamName
from tests.sagas.faults import Append_, is_sent, is_turn, on_append, rows
from tests.sagas.shop import AddStock, OrderPlaced, PayOrder, PlaceOrder, shop_app

pytestmark = pytest.mark.anyio


async def orders(app: App, order: Any) -> list[str]:
    """The events of an order."""
    return [row.type for row in await app.events.read_stream(StreamName("", "Order", order))]


@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "not stored"])
@pytest.mark.parametrize(
    "error", [UnknownOutcomeError("no answer"), StoreUnavailableError("away")], ids=["unknown", "away"]
)
async def test_a_turn_without_an_answer_is_done_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, *, is_stored: bool
) -> None:
    """S1: whatever became of the commit; and it does not stand until somebody acts."""
    failures = [error] * 3

    async def fails(one: Append, append: Append_) -> Appended:
        if is_turn(one) and failures:
            failure = failures.pop()
            if is_stored:
                await append(one)
            raise failure
        return await append(one)

    order, product = new_id(), new_id()
    async with shop_app("memory:") as app:
        on_append(app, monkeypatch, fails)
        await app.commands.dispatch(AddStock(product_id=product, quantity=1))
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=1))
        await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()
        assert not failures
        assert await orders(app, order) == ["OrderPlaced", "OrderPaid", "OrderShipped"]


class Asked(DomainEvent):
    """Somebody was asked."""


class Question(Aggregate):
    """What is asked."""

    def ask(self) -> None:
        """Ask."""
        self.record(Asked())


class Ask(Command):
    """Ask about an order."""

    order_id: UUID


class NotNowError(DomainError):
    """They do not want to be asked."""


class Asking(Saga):
    """Asks, and notes whether it was refused."""

    was_refused: bool = False

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Ask."""
        self.dispatch(Ask(order_id=self.id))

    @on
    def refused(self, rejection: Rejected[Ask]) -> None:
        """Note it."""
        self.was_refused = True


async def test_a_command_that_took_effect_late_was_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """S1, C1: its first append is under way while it is tried again, and refused just before that append commits."""
    order, tries, late = new_id(), list[str](), list[tuple[Append, Append_]]()

    async def slow(one: Append, append: Append_) -> Appended:
        if is_sent(one, "Ask") and not late:
            late.append((one, append))
            raise StoreUnavailableError("away")
        if is_turn(one) and len(tries) == 2:
            kept, store = late[0]
            with suppress(RowChangedError, CommandKeyTaken):
                await store(kept)
        return await append(one)

    app = shop_app("memory:", saga=Asking)

    @app.command_handler
    async def ask(command: Ask, questions: Repository[Question]) -> None:
        tries.append("")
        if len(tries) == 2:
            raise NotNowError("not now")
        (await questions.get_or_new(command.order_id)).ask()

    async with app:
        on_append(app, monkeypatch, slow)
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.settled()
        names = [row.type for row in await app.events.read_stream(StreamName("", "Question", order))]
        (saga,) = await rows(app, saga_table("Asking"))
        assert ("true" not in saga.state) == (names == ["Asked"])
        assert names == ["Asked"]
