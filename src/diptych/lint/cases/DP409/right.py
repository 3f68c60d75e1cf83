from pydantic import AwareDatetime

from diptych import DomainEvent


class OrderShipped(DomainEvent):
    carrier: str
    handed_over_at: AwareDatetime
