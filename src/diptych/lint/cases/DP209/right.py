from typing import Annotated
from uuid import UUID

from diptych import DomainEvent, Key, Projection, ReadModel, on


class OrderPaid(DomainEvent):
    cents: int
    parts: int


class Instalment(ReadModel):
    id: Annotated[UUID, Key]
    cents: int


class Instalments(Projection[Instalment]):
    @on
    def paid(self, row: Instalment, event: OrderPaid) -> Instalment:
        try:
            return row.replace(cents=event.cents // event.parts)
        except ZeroDivisionError:
            return row.replace(cents=event.cents)
