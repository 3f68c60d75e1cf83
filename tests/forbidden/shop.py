"""The small service in which forbidden things are tried: parcels come and go, and a read model counts them."""

from typing import Annotated
from uuid import UUID

from diptych import (
    Aggregate,
    Command,
    DomainEvent,
    Key,
    Metadata,
    Module,
    Projection,
    Query,
    ReadModel,
    Repository,
    on,
)


class Arrived(DomainEvent):
    quantity: int


class Shelf(Aggregate):
    quantity: int = 0

    @on
    def _arrived(self, event: Arrived) -> None:
        self.quantity += event.quantity


class Store(Command):
    shelf_id: UUID
    quantity: int


class Correct(Command):
    """What the ways that start with a command are tried by."""

    shelf_id: UUID


class CountAll(Query[int]):
    """What the ways that start with a query are tried by."""

    shelf_id: UUID


class StockRow(ReadModel):
    id: Annotated[UUID, Key]
    quantity: int


class Tally(ReadModel):
    """The row of the ways that start with a projection."""

    id: Annotated[UUID, Key]
    quantity: int


class Stock(Projection[StockRow]):
    @on
    def arrived(self, row: StockRow | None, event: Arrived, meta: Metadata) -> StockRow:
        return StockRow(id=meta.stream.id, quantity=event.quantity + (row.quantity if row else 0))


shop = Module("shop")
shop.project(Stock)


@shop.command_handler
async def store(command: Store, shelves: Repository[Shelf]) -> None:
    shelf = await shelves.get_or_new(command.shelf_id)
    shelf.record(Arrived(quantity=command.quantity))
