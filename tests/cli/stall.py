"""The service whose projections are operated from the shell, as a file; what runs it, and what fills its log."""

STALL = '''
"""A stall: one isolated projection, one that is not. POISON is a product that they cannot take.

SLOW are the seconds that each sale takes.
"""

import os
import time
from typing import Annotated
from uuid import UUID

from diptych import Aggregate, App, Command, DomainEvent, Key, Metadata, Projection, ReadModel, Repository, new_id, on


class Sold(DomainEvent):
    product: str


class Sale(Aggregate):
    pass


class Sell(Command[UUID]):
    product: str


class SaleRow(ReadModel):
    id: Annotated[UUID, Key]
    product: str


class Total(ReadModel):
    product: Annotated[str, Key]
    sold: int


class Sales(Projection[SaleRow]):
    @on
    def sold(self, event: Sold, meta: Metadata) -> SaleRow:
        time.sleep(float(os.environ.get("SLOW", "0")))
        if event.product == os.environ.get("POISON"):
            raise ValueError(f"no {event.product}, please")
        return SaleRow(id=meta.stream.id, product=event.product)


class Totals(Projection[Total], version=int(os.environ.get("TOTALS", "1"))):
    @on(key="product")
    def sold(self, row: Total | None, event: Sold) -> Total:
        return Total(product=event.product, sold=(row.sold if row else 0) + 1)


app = App(os.environ.get("STALL", "sqlite:///stall.db"), on_change="freeze")
app.project(Sales)
app.project(Totals)


class Till:
    def __init__(self) -> None:
        print("a till is made")


app.provide(Till, Till)


@app.command_handler
async def sell(command: Sell, sales: Repository[Sale], till: Till) -> UUID:
    sale = Sale(new_id())
    sale.record(Sold(product=command.product))
    sales.add(sale)
    return sale.id
'''

SERVE = """
import asyncio, sys
sys.path.insert(0, ".")
from stall import Sell, app

async def main():
    async with app:
        for product in sys.argv[1:]:
            await app.commands.dispatch(Sell(product=product))
        await app.caught_up()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""

FILL = """
import asyncio, sys
sys.path.insert(0, ".")
from diptych.clock import new_id
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import StreamName
from stall import Sold, app

async def main(count):
    async with app:
        for first in range(0, count, 900):
            streams = [StreamName("", "Sale", new_id()) for _ in range(min(900, count - first))]
            writes = [StreamWrite(stream, 0, [app.codec.encode(Sold(product="tea"))]) for stream in streams]
            await app.events.append(Append(writes))
        await app.caught_up(60)

asyncio.run(main(int(sys.argv[1])))
"""
