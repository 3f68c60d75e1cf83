"""Parcels: what is packed for each order. The projection that is broken, in the three releases there were of it."""

import time
from pathlib import Path
from typing import Annotated, ClassVar, Final
from uuid import UUID

from diptych import Key, Metadata, Module, Projection, Query, ReadModel, ReadModels, on
from examples.orders.orders import OrderCancelled, OrderCreated, OrderItemAdded, OrderItemRemoved

UNLUCKY: Final = 13
"""Pieces of one product that no customer of the demonstration orders."""

_SLOW: Final = 0.1  # seconds for each line of an order

module = Module("parcels")


class Parcel(ReadModel):
    """What is packed for an order."""

    id: Annotated[UUID, Key]
    pieces: int = 0
    is_called_off: bool = False


class LinesCounted(Projection[Parcel], name="parcels"):
    """Release 1: takes the lines of an order for its pieces."""

    fault: ClassVar[Path | None] = None

    @on
    def created(self, event: OrderCreated, meta: Metadata) -> Parcel:
        return Parcel(id=meta.stream.id)

    @on
    def added(self, row: Parcel, event: OrderItemAdded) -> Parcel:
        return row.replace(pieces=row.pieces + 1)

    @on
    def removed(self, row: Parcel, event: OrderItemRemoved) -> Parcel:
        return row.replace(pieces=row.pieces - 1)

    @on
    def called_off(self, row: Parcel, event: OrderCancelled) -> Parcel:
        return row.replace(is_called_off=True)


class PiecesCounted(LinesCounted, name="parcels", version=2):
    """Release 2: counts pieces. The handler does what the file `fault` says while it is there, which no handler may."""

    @on
    def added(self, row: Parcel, event: OrderItemAdded) -> Parcel:
        match self.fault.read_text() if self.fault is not None and self.fault.exists() else "":
            case "poison" if event.quantity == UNLUCKY:
                raise ValueError(f"no box holds {UNLUCKY} pieces")
            case "slow":
                time.sleep(_SLOW)
        return row.replace(pieces=row.pieces + event.quantity)

    @on
    def removed(self, row: Parcel, event: OrderItemRemoved) -> Parcel:
        return row.replace(pieces=row.pieces - event.quantity)


class PiecesCountedAgain(PiecesCounted, name="parcels", version=2):
    """Release 3: the same rows, in other words."""

    @on
    def removed(self, row: Parcel, event: OrderItemRemoved) -> Parcel:
        left = row.pieces - event.quantity
        return row.replace(pieces=left)


RELEASES: Final = {"1": LinesCounted, "2": PiecesCounted, "3": PiecesCountedAgain}


class GetParcel(Query[Parcel | None]):
    """What is packed for an order."""

    order_id: UUID


@module.query_handler
async def parcel(query: GetParcel, read: ReadModels) -> Parcel | None:
    return await read.get(Parcel, query.order_id)
