"""What other services are told, as they get it: a change here breaks somebody else."""

import json
from uuid import UUID

import pytest

from diptych.reactions.messages import encode
from diptych.reactions.publisher import MemoryPublisher
from examples.orders.customers import RegisterCustomer
from examples.orders.inventory import ReceiveStock, RegisterProduct
from examples.orders.main import make_app
from examples.orders.orders import CancelOrder, CreateOrder, OrderStatus, UpdateOrderStatus
from examples.orders.tests.conftest import ADA, HOME, TEAPOT, TODAY, TWO_TEAPOTS

pytestmark = pytest.mark.anyio


async def test_others_are_told_what_was_ordered_shipped_and_called_off() -> None:
    broker = MemoryPublisher()
    app = make_app("memory:", broker=broker)
    kept, off = UUID(int=1), UUID(int=2)
    async with app:
        dispatch = app.commands.dispatch
        await dispatch(RegisterCustomer(customer_id=ADA, name="Ada", address=HOME))
        await dispatch(RegisterProduct(product_id=TEAPOT, description="Teapot"))
        await dispatch(ReceiveStock(product_id=TEAPOT, quantity=10))
        for order in (kept, off):
            await dispatch(
                CreateOrder(
                    order_id=order, customer_id=ADA, items=[TWO_TEAPOTS], shipping_address=HOME, placed_at=TODAY
                )
            )
        await dispatch(UpdateOrderStatus(order_id=kept, status=OrderStatus.SHIPPED))
        await dispatch(CancelOrder(order_id=off, reason="late"))
        await app.settled(20)
    told = [json.loads(encode(message)) for message in broker.messages]
    placed = {"customer_id": str(ADA), "placed_at": "2026-11-23T10:00:00Z", **HOME.model_dump()}
    found = [[one["type"], one["data"]] for one in told]
    assert sorted(found, key=str) == [
        ["goods.shipped.v1", {"order_id": str(kept), "product_id": str(TEAPOT), "quantity": 2}],
        ["order.called_off.v1", {"order_id": str(off), "reason": "late"}],
        ["order.placed.v1", {"order_id": str(kept), **placed}],
        ["order.placed.v1", {"order_id": str(off), **placed}],
    ]
    assert {one["source"] for one in told} == {"/orders"}
