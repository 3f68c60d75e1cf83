"""How many rows each read model has: a query like any other, added to the order service by the demonstration."""

from diptych import Module, Query, ReadModels
from examples.orders.reading.customer_totals import CustomerTotals
from examples.orders.reading.order_detail import OrderDetail, OrderLine
from examples.orders.reading.order_list import OrderSummary
from examples.orders.reading.product_sales import ProductSales
from examples.orders.reading.revenue import RevenuePerDay

module = Module("counting")

MODELS = (OrderSummary, OrderDetail, OrderLine, CustomerTotals, ProductSales, RevenuePerDay)


class CountRows(Query[list[int]]):
    """The number of rows of each of `MODELS`."""


@module.query_handler
async def count(query: CountRows, read: ReadModels) -> list[int]:
    return [await read.count(model) for model in MODELS]
