"""The service that is rebuilt under load: what its command line imports, too. It writes down whatever has an effect.

`BASKETS_URL` is its store, `BASKETS_EFFECTS` the file.
"""

import os
from pathlib import Path
from typing import Annotated
from uuid import UUID

from diptych import (
    Aggregate,
    App,
    Command,
    DomainEvent,
    Key,
    Metadata,
    Module,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Repository,
    on,
)
from diptych.app.tuning import Tuning
from diptych.subscriptions.reading import Pace

PATH = Path(__file__)


class Opened(DomainEvent):
    owner: str


class PutIn(DomainEvent):
    product: str
    quantity: int


class Basket(Aggregate):
    pass


class PutInBasket(Command):
    basket_id: UUID
    product: str
    quantity: int


class BasketRow(ReadModel):
    id: Annotated[UUID, Key]
    owner: str
    items: int


class ProductRow(ReadModel):
    product: Annotated[str, Key]
    sold: int


class Baskets(Projection[BasketRow]):
    """Isolated."""

    @on
    def opened(self, event: Opened, meta: Metadata) -> BasketRow:
        return BasketRow(id=meta.stream.id, owner=event.owner, items=0)

    @on
    def put_in(self, row: BasketRow, event: PutIn) -> BasketRow:
        return row.replace(items=row.items + event.quantity)


class Products(Projection[ProductRow]):
    """Not isolated."""

    @on(key="product")
    def put_in(self, row: ProductRow | None, event: PutIn) -> ProductRow:
        return ProductRow(product=event.product, sold=(row.sold if row else 0) + event.quantity)


class CountBaskets(Query[int]):
    pass


class GetBasket(Query[BasketRow]):
    basket_id: UUID


class Effects:
    """Something outside: made when the service starts, and used by every command."""

    def __init__(self) -> None:
        self.note("made")

    def note(self, what: str) -> None:
        """Write down what happened, and in which process."""
        line = f"{os.getpid()} {what}\n".encode()
        descriptor = os.open(os.environ["BASKETS_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line)  # diptych: ignore[DP501] it is there when this process is killed
        os.close(descriptor)


shop = Module("shop")
shop.project(Baskets)
shop.project(Products)
shop.provide(Effects, Effects)


@shop.command_handler
async def put_in_basket(command: PutInBasket, baskets: Repository[Basket], effects: Effects) -> None:
    effects.note("handled")
    basket = await baskets.get_or_new(command.basket_id)
    if basket.version == 0:
        basket.record(Opened(owner="somebody"))
    basket.record(PutIn(product=command.product, quantity=command.quantity))


@shop.query_handler
async def count_baskets(query: CountBaskets, read: ReadModels) -> int:
    return await read.count(BasketRow)


@shop.query_handler
async def get_basket(query: GetBasket, read: ReadModels) -> BasketRow:
    return await read.one(BasketRow, query.basket_id)


def service(url: str) -> App:
    """The service over a store."""
    made = App(url, tuning=Tuning(pace=Pace(lease=1.0, hold=2.0, poll=0.2)))
    made.include(shop)
    return made


app = service(os.environ.get("BASKETS_URL", "memory:"))
