from collections.abc import Mapping

from diptych import Aggregate, DomainError, DomainEvent


class OrderPlaced(DomainEvent):
    sku: str
    cents: int


class Order(Aggregate):
    def place(self, sku: str, prices: Mapping[str, int]) -> None:
        if sku not in prices:
            raise DomainError(f"{sku} has no price")
        self.record(OrderPlaced(sku=sku, cents=prices[sku]))
