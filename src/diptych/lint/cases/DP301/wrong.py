import httpx

from diptych import Aggregate, DomainError, DomainEvent


class OrderPlaced(DomainEvent):
    sku: str
    cents: int


class Order(Aggregate):
    def place(self, sku: str) -> None:
        answer = httpx.get(f"https://prices.example.com/{sku}")
        if answer.status_code == 404:
            raise DomainError(f"{sku} has no price")
        self.record(OrderPlaced(sku=sku, cents=int(answer.text)))
