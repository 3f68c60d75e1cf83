"""What is no Exception ends nobody's work: a reaction or a call that raises it has failed, and is tried again (P7)."""

import asyncio
from pathlib import Path

import pytest

from diptych import App, new_id
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
