"""How many rows each read model has: a query like any other, added to the order service by the demonstration."""

from diptych import Module, Query, ReadModels
from examples.orders.reading.figures import CustomerTotals, ProductSales, RevenuePerDay
from examples.orders.reading.order_book import OrderDetail, OrderLine, OrderSummary

module = Module("counting")

MODELS = (OrderSummary, OrderDetail, OrderLine, CustomerTotals, ProductSales, RevenuePerDay)


class CountRows(Query[list[int]]):
    """The number of rows of each of `MODELS`."""


@module.query_handler
async def count(query: CountRows, read: ReadModels) -> list[int]:
    return [await read.count(model) for model in MODELS]
