"""Code of a saga, a reaction or a step that exits: it has failed, and the process with all other work goes on."""

import sys

import anyio
import pytest

from diptych import App, IdempotencyKey, Saga, Steps, new_id, on, step
from diptych.app.tuning import Tuning
from diptych.reactions.messages import IntegrationEvent
from diptych.reactions.publication import Publication
from diptych.reactions.publisher import MemoryPublisher
from diptych.sagas.stepped import SagaStepped
from diptych.subscriptions.reading import Pace
from tests.sagas.shop import OrderPaid, OrderPlaced, PayOrder, PlaceOrder, shop

pytestmark = pytest.mark.anyio

QUICK = Tuning(pace=Pace(first_pause=0.01, longest_pause=0.02))


class Exiting(Saga):
    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        if event.quantity == 13:
            sys.exit(3)


class ExitingSteps(Steps):
    quantity: int = 0

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        self.quantity = event.quantity

    @step(attempts=2)
    async def leave(self, key: IdempotencyKey) -> None:
        if self.quantity == 13:
            sys.exit(4)

    @leave.undo
    async def come_back(self) -> None: ...


class Told(IntegrationEvent, name="order.placed"):
    pass


def exiting_shop(broker: MemoryPublisher) -> App:
    app, orders = App("memory:", tuning=QUICK), Publication("orders", source="/shop")
    app.include(shop())
    app.saga(Exiting)
    app.saga(ExitingSteps)

    @app.reaction(attempts=2)
    async def receipt(event: OrderPlaced) -> None:
        if event.quantity == 13:
            sys.exit("good bye")

    @orders.event
    def paid(event: OrderPaid) -> Told:
        sys.exit(5)

    app.publish(orders, broker)
    return app


async def test_what_exits_is_put_aside_and_others_go_on() -> None:
    """P7, S1"""
    async with exiting_shop(MemoryPublisher()) as app:
        for quantity in (1, 13, 2, 3):
            await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=quantity))
        await app.settled()
        found = {one.name: one for one in (await app.status()).duties}
        assert {name for name, one in found.items() if one.state == "parked"} == {"Exiting", "receipt"}
        assert "SystemExit: 3" in str(found["Exiting"].problem)
        assert "it exited with 'good bye'" in str(found["receipt"].problem)
        steps = await app.events.read_log(after=0, types=frozenset({SagaStepped.event_name}))
        assert sum('"compensated"' in row.payload for row in steps.events) == 1
        assert sum('"completed"' in row.payload for row in steps.events) == 3


async def test_a_publication_whose_function_exits_stands_and_says_where() -> None:
    """D1"""
    async with exiting_shop(MemoryPublisher()) as app:
        order = new_id()
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.commands.dispatch(PayOrder(order_id=order))
        with anyio.fail_after(10):
            while "SystemExit: 5" not in str(await problem_of(app, "orders")):  # noqa: ASYNC110 - it is looked at
                await anyio.sleep(0.01)


async def problem_of(app: App, duty: str) -> str | None:
    """What status says is wrong with it."""
    (one,) = [each for each in (await app.status()).duties if each.name == duty]
    return one.problem
