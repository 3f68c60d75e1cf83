from typing import Annotated

from diptych import DomainEvent, Key, Projection, ReadModel, on


class OrderShipped(DomainEvent):
    product: str
    quantity: int


class ProductSales(ReadModel):
    product: Annotated[str, Key]
    quantity: int


sold: dict[str, int] = {}


class Sales(Projection[ProductSales]):
    @on(key="product")
    def shipped(self, event: OrderShipped) -> ProductSales:
        sold[event.product] = sold.get(event.product, 0) + event.quantity
        return ProductSales(product=event.product, quantity=sold[event.product])
