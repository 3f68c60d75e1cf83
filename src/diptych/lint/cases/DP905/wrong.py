from typing import Annotated
from uuid import UUID

from diptych import App, Key, Query, ReadModel, ReadModels

app = App("sqlite:///shop.db")


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    total_cents: int


class CountRows(Query[int]):
    table: str


@app.query_handler
async def count_rows(query: CountRows, read: ReadModels) -> int:
    [count] = await read.sql(int, f"SELECT count(*) FROM {query.table}")
    return count
