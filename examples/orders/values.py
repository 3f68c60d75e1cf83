"""Values that every slice shares: validated once, where data comes in.

The upper limits keep every sum far away from what a 64-bit column can hold.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from diptych import DomainError

_FIRST_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)

_PRICE: Final = r"^(0\.(0[1-9]|[1-9][0-9]?)|[1-9][0-9]{0,4}(\.[0-9]{1,2})?)$"


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value  # 2.0 is an integer in JSON


def _as_text(value: object) -> object:
    if isinstance(value, Decimal) or (isinstance(value, str) and re.match(_PRICE, value)):
        return value
    raise ValueError('should be text such as "6.95": a number of JSON is no money')


Text = Annotated[str, StringConstraints(max_length=200)]
RequiredText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Quantity = Annotated[int, Field(strict=True, gt=0, le=100_000), BeforeValidator(_whole)]
Price = Annotated[
    Decimal,
    BeforeValidator(_as_text),
    Field(gt=0, max_digits=7, decimal_places=2),
    WithJsonSchema({"type": "string", "pattern": _PRICE, "examples": ["6.95"]}),
]
Money = Annotated[Decimal, Field(decimal_places=2)]
PageSize = Annotated[int, Field(ge=1, le=100)]
PageNumber = Annotated[int, Field(ge=1, le=1_000_000)]


class Address(BaseModel):
    """Where goods go. Only the country is required: imported orders say no more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    street: Text = ""
    city: Text = ""
    postal_code: Text = ""
    country: RequiredText


class OrderItem(BaseModel):
    """So many of a product, at the price agreed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product_id: UUID
    quantity: Quantity
    unit_price: Price


class ImpossibleTimeError(DomainError):
    """Something is said to have happened before the shop opened, or has not happened yet."""

    def __init__(self, given: datetime) -> None:
        super().__init__(f"{given.isoformat()} is before {_FIRST_DAY.date()} or in the future. Give the real time.")


def business_time(given: datetime | None, now: datetime) -> datetime:
    """Return when something happened in the shop: now, unless it was entered later with its own time."""
    if given is not None and not _FIRST_DAY <= given <= now:
        raise ImpossibleTimeError(given)
    return given or now
