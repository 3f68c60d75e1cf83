"""W11: a saga takes 2,000 new orders and has an item added to each, beside a plain loop that makes the same writes.

An order is four events on both sides: it is created, a step is noted, the item is added, a second step is noted. The
twin keeps no timers, no tasks and no leases; it follows the log, appends the steps of a page together, and sends the
items of a page at once. `delay` is from an order's commit to its item's, by the time that the log has for them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Final
from uuid import UUID

from benchmarks import shop
from benchmarks.place import Place
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload, percentile
from diptych import Saga, new_id, on
from diptych.events.codec import Codec
from diptych.sagas.stepped import Cause, SagaStepped
from diptych.store.opening import open_stores
from diptych.store.protocols import Append, EventStore, StreamWrite
from diptych.stream import ANY, StreamName

_AT_ONCE: Final = 16
_ADDRESS: Final = shop.Address(street="Main Street 1", postal_code="12345", city="Town", country="DE")


def _item() -> shop.Item:
    return shop.Item(product_id=new_id(), description="a pen", quantity=1, unit_price=Decimal("1.50"))


class Gift(Saga):
    """Adds something to each order."""

    @on(starts=True)
    def created(self, event: shop.OrderCreated) -> None:
        """Add it."""
        self.dispatch(shop.AddItem(order_id=self.id, item=_item()))

    @on
    def added(self, event: shop.OrderItemAdded) -> None:
        """Be done."""
        self.complete()


def _count(scale: Scale) -> int:
    return scale.of(20, 400, 2_000, 10_000)


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """From the first order until the saga has settled."""
    app = shop.shop(place.url, projects=False)
    app.saga(Gift)

    async def create(order: UUID) -> None:
        command = shop.CreateOrder(order_id=order, customer_id=new_id(), items=[], shipping_address=_ADDRESS)
        await app.commands.dispatch(command)

    async with app:

        async def measure() -> Figures:
            orders, begun = _orders(scale), time.perf_counter()
            await _create_all(orders, create)
            await app.settled(timeout=300)
            return await _figures(app.events, orders, time.perf_counter() - begun)

        yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """From the first order until the loop has noted the last step."""
    stores, codec = open_stores(place.url), Codec()
    for kind in (shop.OrderCreated, shop.OrderItemAdded, SagaStepped):
        codec.register(kind)
    await stores.events.open()

    async def create(order: UUID) -> None:
        event = shop.OrderCreated(customer_id=new_id(), shipping_address=_ADDRESS)
        await stores.events.append(Append([StreamWrite(shop.stream(order), 0, [codec.encode(event)])]))

    async def measure() -> Figures:
        orders, begun = _orders(scale), time.perf_counter()
        following = asyncio.create_task(_follow(stores.events, codec, len(orders)))
        await _create_all(orders, create)
        await following
        return await _figures(stores.events, orders, time.perf_counter() - begun)

    yield measure
    await stores.events.close()


async def _follow(store: EventStore, codec: Codec, orders: int) -> None:
    """Read, note the steps, add the items; until each order has both of its steps."""
    position, done = (await store.head()).position, 0
    while done < orders:
        page = await store.read_log(after=position, limit=2000)
        steps, items = list[StreamWrite](), list[Append]()
        for row in page.events:
            if row.type == SagaStepped.event_name:
                continue
            order = UUID(row.stream_id)
            cause = Cause(kind="event", name=row.type, id=UUID(bytes=row.event_id), position=row.position)
            step = SagaStepped(saga="Gift", key=str(order), cause=cause, status="running", state={})
            steps.append(StreamWrite(StreamName("", "Gift", order), ANY, [codec.encode(step)]))
            if row.type == shop.OrderItemAdded.event_name:
                done += 1
                continue
            item = _item()
            added = shop.OrderItemAdded(**item.model_dump())
            items.append(Append([StreamWrite(shop.stream(order), 1, [codec.encode(added)])]))
        for first in range(0, len(steps), 500):
            await store.append(Append(steps[first : first + 500]))
        await asyncio.gather(*[store.append(item) for item in items])
        position = page.scanned
        if not page.events:
            await store.wait(position, 0.5)


def _orders(scale: Scale) -> list[UUID]:
    return [new_id() for _ in range(_count(scale))]


async def _create_all(orders: Sequence[UUID], create: Callable[[UUID], Awaitable[None]]) -> None:
    """Create them, so many at a time."""
    left = iter(orders)

    async def client() -> None:
        for order in left:
            await create(order)

    await asyncio.gather(*[client() for _ in range(_AT_ONCE)])


async def _figures(store: EventStore, orders: Sequence[UUID], seconds: float) -> Figures:
    delays = list[float]()
    for order in orders:
        created, added = await store.read_stream(shop.stream(order))
        delays.append((added.recorded_at - created.recorded_at) / 1000)
    return {
        "orders": len(orders) / seconds,
        "delay p50": percentile(delays, 0.5),
        "delay p99": percentile(delays, 0.99),
    }


WORKLOADS = (
    Workload(
        "W11",
        "a saga's step: from an event to the command that follows",
        (
            Goal("orders", "per s", better="higher"),
            Goal("delay p50", "ms"),
            Goal("delay p99", "ms"),
        ),
        diptych,
        twin,
        "a plain loop",
    ),
)
