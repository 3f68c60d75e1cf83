from typing import Annotated

from diptych import DomainEvent, Key, Projection, ReadModel, on


class OrderShipped(DomainEvent):
    product: str
    quantity: int


class ProductSales(ReadModel):
    product: Annotated[str, Key]
    quantity: int


class Sales(Projection[ProductSales]):
    @on(key="product")
    def shipped(self, row: ProductSales | None, event: OrderShipped) -> ProductSales:
        sold = row.quantity if row else 0
        return ProductSales(product=event.product, quantity=sold + event.quantity)
