from typing import Annotated
from uuid import UUID

from diptych import App, Key, Query, ReadModel, ReadModels

app = App("sqlite:///shop.db")


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    total_cents: int


class CountOrders(Query[int]):
    at_least: int


@app.query_handler
async def count_orders(query: CountOrders, read: ReadModels) -> int:
    sql = "SELECT count(*) FROM order_summary WHERE total_cents >= :at_least"
    [count] = await read.sql(int, sql, at_least=query.at_least)
    return count
