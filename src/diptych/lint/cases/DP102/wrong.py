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
    await read.sql(int, "UPDATE order_summary SET reads = reads + 1 WHERE id = :id", id=query.order_id)
    return (await read.one(OrderSummary, query.order_id)).total_cents
