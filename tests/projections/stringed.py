"""A user's module whose annotations are all strings."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from diptych.handlers import on
from diptych.messages import DomainEvent, Metadata
from diptych.projections.projection import Projection
from diptych.read.models import Index, Key, ReadModel
from diptych.store.batches import Db
from tests.projections.shop import Money, Placed, Registered, Renamed


class Visitor(ReadModel):
    """Refers to a class that is defined below."""

    id: Annotated[UUID, Key]
    name: str
    note: Annotated[Note | None, Index] = None
    owed: Money = Decimal(0)


Note = str


class Visitors(Projection[Visitor]):
    """Row in, row out."""

    @on
    def came(self, event: Registered, meta: Metadata) -> Visitor:
        return Visitor(id=meta.stream.id, name=event.name)

    @on
    def renamed(self, row: Visitor, event: Renamed) -> Visitor | None:
        return row.replace(name=event.name)

    @on(key="customer_id")
    def ordered(self, row: Visitor | None, event: Placed, meta: Metadata) -> Visitor:
        return (row or Visitor(id=event.customer_id, name="?")).replace(note="ordered")


def in_a_function() -> type[Projection[Visitor]]:
    """Make one whose event is known in this function only."""

    class Waved(DomainEvent):
        name: str

    class Local(Projection[Visitor]):
        @on
        def waved(self, row: Visitor | None, event: Waved, meta: Metadata) -> Visitor:
            return Visitor(id=meta.stream.id, name=event.name)

    return Local


class VisitorsBySql(Projection[Visitor]):
    """By hand."""

    async def handle(self, event: Registered | Renamed, db: Db) -> None: ...
