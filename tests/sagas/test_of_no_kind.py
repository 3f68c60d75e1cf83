"""What is no Exception ends nobody's work: a reaction or a call that raises it has failed, and is tried again (P7)."""

import asyncio
from pathlib import Path

import pytest

from diptych import App, Saga, new_id, on
from diptych.sagas.row import saga_table
from diptych.subscriptions.tasks import tasks_table
from tests.sagas.faults import rows
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class Odd(BaseException):
    """Neither an Exception, nor a word to end."""


RAISED = [SystemExit(2), asyncio.CancelledError(), BaseExceptionGroup("both", [SystemExit(2), OSError()]), Odd("odd")]


@pytest.mark.parametrize("raised", RAISED, ids=repr)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_reaction_that_raises_it_is_tried_again(
    raised: BaseException, store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """S1: and other keys go on."""
    request.param = store
    app, seen = App(url_for(request, tmp_path)), list[int]()
    app.include(shop())

    @app.reaction
    async def receipt(event: OrderPlaced) -> None:
        seen.append(event.quantity)
        if event.quantity == 2 and seen.count(2) == 1:
            raise raised

    async with app:
        for quantity in (1, 2, 3):
            await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=quantity))
        await app.settled(10)
        done = await rows(app, tasks_table("receipt"), "state = 'done' AND kind = 'event'")
    assert sorted(seen) == [1, 2, 2, 3]
    assert len(done) == 3


@pytest.mark.parametrize("raised", [*RAISED, GeneratorExit()], ids=repr)
async def test_a_saga_whose_method_raises_it_is_stuck(raised: BaseException) -> None:
    """P7: others of its lane go on."""

    class Raising(Saga):
        @on(starts=True)
        def placed(self, event: OrderPlaced) -> None:
            if event.quantity == 2:
                raise raised

    app = App("memory:")
    app.include(shop())
    app.saga(Raising)
    async with app:
        for quantity in (1, 2, 3, 4, 5, 6, 7, 8):
            await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=quantity))
        await app.settled(10)
        found = await rows(app, saga_table("Raising"))
    assert sorted(one.status for one in found) == ["running"] * 7 + ["stuck"]
    (stuck,) = [one for one in found if one.status == "stuck"]
    assert type(raised).__name__ in stuck.error
