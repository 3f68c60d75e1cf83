"""W3: a command loads an aggregate of 10 events and appends one. Every command meets an aggregate never seen before."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from uuid import UUID

import msgspec

from benchmarks import raw, shop
from benchmarks.clients import dealt, together
from benchmarks.generator import Fact, item_added, order, order_ids
from benchmarks.place import Place, raw_store
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload
from diptych import new_id

_CLIENTS = 32


def _alone(scale: Scale) -> int:
    return scale.of(5, 100, 400)


def _crowd(scale: Scale) -> int:
    return scale.of(64, 1000, 4000)


def _orders(scale: Scale) -> tuple[list[UUID], list[Fact]]:
    """As many orders of ten events as all rounds need, the warming up included."""
    ids = order_ids((_alone(scale) + _crowd(scale)) * (scale.rounds + 1), seed=5)
    source = random.Random(6)
    return ids, [fact for order_id in ids for fact in order(order_id, source, ends=False)]


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """`CommandBus.dispatch`."""
    ids, facts = _orders(scale)
    await shop.fill(place.url, facts, size=1000)
    left = iter(ids)
    item = shop.Item.model_validate(item_added(random.Random(8)))
    app = shop.shop(place.url, projects=False)

    def commands(count: int) -> Sequence[shop.AddItem]:
        return [shop.AddItem(order_id=next(left), item=item) for _ in range(count)]

    async with app:
        dispatch = app.commands.dispatch

        async def measure() -> Figures:
            alone, crowd = commands(_alone(scale)), commands(_crowd(scale))
            return {
                "1 client": len(alone) / await together([alone], dispatch),
                "32 clients": len(crowd) / await together(dealt(crowd, _CLIENTS), dispatch),
            }

        yield measure


class _AddItem(msgspec.Struct):
    """The twin's command."""

    order_id: UUID
    item: raw.RawItemAdded


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """Load, decide, append; the command's id, hash and result are kept with the event."""
    ids, facts = _orders(scale)
    await place.raw_fill(facts, size=1000)
    left = iter(ids)
    fact = Fact(ids[0], "bench.order_item_added", item_added(random.Random(8)))
    encode = msgspec.json.Encoder().encode
    async with raw_store(place) as store:

        async def handle(command: _AddItem) -> int:
            stream = store.key(command.order_id)
            loaded = await store.load(stream)
            if loaded.status != "pending":
                raise ValueError("the order is shipped")
            command_id = new_id()
            event = msgspec.structs.replace(command.item)
            version = loaded.version
            loaded.apply(event)
            remembered = raw.RawCommand(command_id.bytes, blake2b(encode(command), digest_size=16).digest(), "null")
            return await store.append(stream, version, [raw.encode(event)], raw.metadata_of(command_id), remembered)

        def commands(count: int) -> Sequence[_AddItem]:
            item = raw.event(fact)
            assert isinstance(item, raw.RawItemAdded)
            return [_AddItem(next(left), item) for _ in range(count)]

        async def measure() -> Figures:
            alone, crowd = commands(_alone(scale)), commands(_crowd(scale))
            return {
                "1 client": len(alone) / await together([alone], handle),
                "32 clients": len(crowd) / await together(dealt(crowd, _CLIENTS), handle),
            }

        yield measure


WORKLOADS = (
    Workload(
        "W3",
        "command: load 10 events, append one",
        (
            Goal("1 client", "per s", better="higher"),
            Goal("32 clients", "per s", {"sqlite": 0.6, "postgresql": 0.5}, better="higher"),
        ),
        diptych,
        twin,
    ),
)
