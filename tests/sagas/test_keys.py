"""Which saga an event is for: a function may say so, or for none; one that fails stops it, and says where."""

import pytest

from diptych import App, Saga, new_id, on
from diptych.errors import StaleReadError
from diptych.messages import Metadata
from diptych.sagas.row import saga_table
from tests.sagas.faults import rows
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop_app
from tests.waiting import until

pytestmark = pytest.mark.anyio

BUGS: set[str] = set()


def by_quantity(event: OrderPlaced, meta: Metadata) -> str | None:
    """One saga for each quantity; for small orders, none."""
    if BUGS:
        raise KeyError("quantity")
    return str(event.quantity) if event.quantity > 5 else None


class Large(Saga):
    """Counts large orders."""

    count: int = 0

    @on(starts=True, key=by_quantity)
    def placed(self, event: OrderPlaced) -> None:
        """Count."""
        self.count += 1


async def place(app: App, quantity: int) -> None:
    """Place an order."""
    await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=quantity))


async def counts(app: App) -> dict[str, str]:
    """What was counted."""
    return {row.key: row.state for row in await rows(app, saga_table("Large"))}


async def test_an_event_may_be_for_none() -> None:
    """And events of many streams for one."""
    async with shop_app("memory:", saga=Large) as app:
        for quantity in (1, 6, 6, 7):
            await place(app, quantity)
        await app.settled()
        assert await counts(app) == {"6": '{"count":2}', "7": '{"count":1}'}


async def test_one_whose_key_cannot_be_told_stops_it_and_is_taken_when_that_is_mended() -> None:
    """S1: nothing is skipped, and the error names the event; whose lane would it be?"""
    BUGS.add("bug")
    try:
        async with shop_app("memory:", saga=Large) as app:
            await place(app, 6)
            (keeper,) = app._started().duties.keepers
            await until(lambda: keeper.error is not None)
            with pytest.raises(StaleReadError, match="key of OrderPlaced at position 1"):
                await app.settled(0.1)
            BUGS.clear()
            await app.events.inline.leases.ask("Large", "retry")
            await app.settled()
            assert await counts(app) == {"6": '{"count":1}'}
            assert keeper.error is None
    finally:
        BUGS.clear()
