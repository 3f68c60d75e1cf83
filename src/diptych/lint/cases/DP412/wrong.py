from typing import Any

from diptych import DomainEvent


class AddressCorrected(DomainEvent):
    address: dict[str, Any]
