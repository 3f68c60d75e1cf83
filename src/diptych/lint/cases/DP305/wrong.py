from diptych import Aggregate, DomainEvent


class OrderPlaced(DomainEvent):
    cents: int


class Prices:
    async def of(self, sku: str) -> int:
        return 450 if sku == "tea" else 1200


class Order(Aggregate):
    async def place(self, sku: str, prices: Prices) -> None:
        self.record(OrderPlaced(cents=await prices.of(sku)))
