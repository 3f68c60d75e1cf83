"""The order service."""

from uuid import UUID

from diptych import App, Repository, new_id
from orders import CancelOrder, Order, PlaceOrder

app = App("sqlite:///orders.db")


@app.command_handler
async def place_order(command: PlaceOrder, orders: Repository[Order]) -> UUID:
    order = Order.place(new_id(), command.customer_id)
    orders.add(order)
    return order.id


@app.command_handler
async def cancel_order(command: CancelOrder, orders: Repository[Order]) -> None:
    order = await orders.get(command.order_id)
    order.cancel(command.reason)
