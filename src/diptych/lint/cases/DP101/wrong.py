from typing import Annotated
from uuid import UUID

from diptych import App, DomainEvent, Key, Metadata, Projection, Query, ReadModel, ReadModels, on


app = App("sqlite:///shop.db")


class OrderPlaced(DomainEvent):
    total_cents: int


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    total_cents: int


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        return OrderSummary(id=meta.stream.id, total_cents=event.total_cents)


class GetTotal(Query[int]):
    order_id: UUID


@app.query_handler
async def get_total(query: GetTotal, read: ReadModels) -> int:
    rows = await read.sql(int, "SELECT count(*) FROM events WHERE stream = :id", id=query.order_id)
    return rows[0]
