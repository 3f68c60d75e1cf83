"""W12: publish 20,000 order events to a broker that confirms at once, beside a plain loop over the same log.

The twin reads pages, makes the same envelopes, and writes down after each page how far it got. Diptych does it in four
lanes, and writes before each page goes out as well, which proves to a standby what was read.
"""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from benchmarks import shop
from benchmarks.generator import log
from benchmarks.place import Place
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload
from diptych.events.recorded import StoredMetadata
from diptych.reactions.messages import IntegrationEvent, IntegrationMessage, encode
from diptych.reactions.publication import Publication
from diptych.store.batches import LaneMove, ProjectionTables, ViewBatch
from diptych.store.opening import open_stores
from diptych.store.protocols import Append

_PAGE = 2000


class ItemForOthers(IntegrationEvent, name="shop.order.item_added"):
    """What others are told of an item."""

    product_id: UUID
    quantity: int


class Counter:
    """A broker that confirms at once. What it is sent is written down, as for a real one."""

    def __init__(self) -> None:
        self.count = self.bytes = 0

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def publish(self, messages: Sequence[IntegrationMessage]) -> None:
        """Count."""
        self.count += len(messages)
        self.bytes += sum(len(encode(each)) for each in messages)


def _count(scale: Scale) -> int:
    return scale.of(300, 20_000, 100_000)


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """A publication, from the start of its app until the broker has confirmed all."""
    count, rounds = _count(scale), 0
    await shop.fill(place.url, log(count))

    async def measure() -> Figures:
        nonlocal rounds
        rounds += 1
        orders, broker = Publication(f"orders_{rounds}", source="/shop", begins="beginning"), Counter()

        @orders.event
        def added(event: shop.OrderItemAdded) -> ItemForOthers:
            return ItemForOthers(product_id=event.product_id, quantity=event.quantity)

        app = shop.shop(place.url)
        app.projected.clear()
        app.publish(orders, broker)
        async with app:
            begun = time.perf_counter()
            await app.settled(timeout=300)
            taken = time.perf_counter() - begun
        return {"messages": broker.count / taken}

    yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """Read, make, hand over, write down how far it got; again."""
    count, rounds = _count(scale), 0
    await shop.fill(place.url, log(count))

    async def measure() -> Figures:
        nonlocal rounds
        rounds += 1
        name = f"plain_{rounds}"
        stores, broker = open_stores(place.url), Counter()
        await stores.events.open()
        await stores.events.inline.open([ProjectionTables(name, ())], store_id=stores.events.store_id)
        (generation,) = await stores.events.inline.generations.all(name)
        begun, position = time.perf_counter(), 0
        while (page := await stores.events.read_log(after=position, limit=_PAGE)).events:
            messages = []
            for row in page.events:
                if row.type == shop.OrderItemAdded.event_name:
                    found, meta = json.loads(row.payload), StoredMetadata(row)
                    data = json.dumps({"product_id": found["product_id"], "quantity": found["quantity"]})
                    kind = ItemForOthers.message_type()
                    key, at = str(row.stream.id), meta.recorded_at
                    messages.append(IntegrationMessage(meta.event_id, kind, "/shop", key, at, data, row.position))
            await broker.publish(messages)
            last, moves = page.events[-1], [LaneMove(0, 0, position)]
            place_now = (last.position, last.event_id, last.recorded_at)
            await stores.events.append(Append([], beside=ViewBatch(name, generation.number, moves, *place_now)))
            position = last.position
        taken = time.perf_counter() - begun
        await stores.events.close()
        return {"messages": broker.count / taken}

    yield measure


WORKLOADS = (
    Workload(
        "W12",
        "publish to a broker that confirms at once",
        (Goal("messages", "per s", better="higher"),),
        diptych,
        twin,
        "a plain loop",
    ),
)
