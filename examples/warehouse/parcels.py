"""Parcels: one for each order, addressed and packed as the order service tells.

What it tells comes in no certain order between one product and another, so a parcel begins with whatever comes first.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from diptych import (
    Aggregate,
    Command,
    DomainEvent,
    Key,
    Metadata,
    Module,
    Page,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Repository,
    on,
)
from diptych.web import Queries

module, router = Module("parcels"), APIRouter(prefix="/parcels", tags=["parcels"])


class Destination(BaseModel):
    """Where a parcel goes."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # the order service may say more one day

    street: str = ""
    city: str = ""
    postal_code: str = ""
    country: str


class ParcelAddressed(DomainEvent):
    """It is known where the parcel goes."""

    destination: Destination


class GoodsPacked(DomainEvent, inert=True):
    """So many of a product are in the parcel."""

    product_id: UUID
    quantity: int


class Parcel(Aggregate):
    """What leaves the house for one order. Its id is the order's."""

    destination: Destination | None = None

    def address(self, destination: Destination) -> None:
        """Write on it where it goes."""
        if destination != self.destination:
            self.record(ParcelAddressed(destination=destination))

    def pack(self, product_id: UUID, quantity: int) -> None:
        """Put something in."""
        self.record(GoodsPacked(product_id=product_id, quantity=quantity))

    @on
    def _addressed(self, event: ParcelAddressed) -> None:
        self.destination = event.destination


class AddressParcel(Command):
    """Write on a parcel where it goes."""

    order_id: UUID
    destination: Destination


class PackGoods(Command):
    """Put goods into the parcel of an order."""

    order_id: UUID
    product_id: UUID
    quantity: int


@module.command_handler
async def address(command: AddressParcel, parcels: Repository[Parcel]) -> None:
    (await parcels.get_or_new(command.order_id)).address(command.destination)


@module.command_handler
async def pack(command: PackGoods, parcels: Repository[Parcel]) -> None:
    (await parcels.get_or_new(command.order_id)).pack(command.product_id, command.quantity)


class ParcelRow(ReadModel):
    """A parcel in a list."""

    order_id: Annotated[UUID, Key]
    country: str = ""
    city: str = ""
    pieces: int = 0


@module.project
class Parcels(Projection[ParcelRow]):
    """Keeps the list."""

    @on
    def addressed(self, row: ParcelRow | None, event: ParcelAddressed, meta: Metadata) -> ParcelRow:
        row = row or ParcelRow(order_id=meta.stream.id)
        return row.replace(country=event.destination.country, city=event.destination.city)

    @on
    def packed(self, row: ParcelRow | None, event: GoodsPacked, meta: Metadata) -> ParcelRow:
        row = row or ParcelRow(order_id=meta.stream.id)
        return row.replace(pieces=row.pieces + event.quantity)


class GetParcels(Query[Page[ParcelRow]]):
    """All parcels."""

    cursor: str | None = None


class GetParcel(Query[ParcelRow]):
    """The parcel of an order."""

    order_id: UUID


@module.query_handler
async def all_parcels(query: GetParcels, read: ReadModels) -> Page[ParcelRow]:
    return await read.page(ParcelRow, order_by="order_id", size=50, after=query.cursor)


@module.query_handler
async def one_parcel(query: GetParcel, read: ReadModels) -> ParcelRow:
    return await read.one(ParcelRow, query.order_id)


@router.get("")
async def get_parcels(queries: Queries, cursor: str | None = None) -> Page[ParcelRow]:
    """All parcels, by order."""
    return await queries.dispatch(GetParcels(cursor=cursor))


@router.get("/{order_id}")
async def get_parcel(order_id: UUID, queries: Queries) -> ParcelRow:
    """The parcel of an order."""
    return await queries.dispatch(GetParcel(order_id=order_id))
