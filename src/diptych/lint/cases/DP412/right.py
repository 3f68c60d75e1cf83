from pydantic import BaseModel, ConfigDict

from diptych import DomainEvent


class Address(BaseModel):
    model_config = ConfigDict(frozen=True)

    street: str
    city: str
    country: str


class AddressCorrected(DomainEvent):
    address: Address
