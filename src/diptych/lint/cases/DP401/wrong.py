from uuid import UUID

from diptych import DomainEvent


class OrderPlaced(DomainEvent):
    customer_id: UUID
    cents: int
    tags: list[str] = []
