from datetime import datetime

from diptych import DomainEvent


class OrderShipped(DomainEvent):
    carrier: str
    handed_over_at: datetime
