"""Pages of rows, and the opaque cursors that lead from one to the next.

Rule: a cursor says where a page ended, in one list only: of this model, these filters, this order.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from diptych.errors import InvalidInputError
from diptych.read.conditions import Order
from diptych.store.tables import Bound, Column, Kind, Table
from diptych.store.values import PLAIN

T = TypeVar("T")

_LONGEST: Final = 4_000_000  # it carries its row's values, a long text among them
_NUMBERS: Final = frozenset({Kind.INTEGER, Kind.BOOLEAN, Kind.DECIMAL, Kind.DATETIME})


class Page(BaseModel, Generic[T]):
    """Some rows of a list. Give `next_cursor` as `after=` for those that follow; there are none when it is None."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = None
    has_more: bool = False


def list_digest(table: Table, order: Sequence[Order], filters: str, values: Mapping[str, Bound]) -> str:
    """Return what tells this list from every other."""
    shown = {name: repr(bound.value) for name, bound in values.items()}
    text = repr((table.fingerprint, [each.sql for each in order], filters, shown))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()


def to_cursor(digest: str, order: Sequence[Order], row: Any) -> str:
    """Return the cursor that leads past this row. It is the same on every backend."""
    values = [PLAIN.encode(each.column, getattr(row, each.column.name)) for each in order]
    text = json.dumps([digest, *values], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_cursor(cursor: str, digest: str, order: Sequence[Order]) -> list[Bound]:
    """Return the values in a cursor. :raises InvalidInputError: it is forged, damaged or of another list."""
    try:
        if len(cursor) > _LONGEST:
            raise ValueError("it is too long")
        found = json.loads(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
        if type(found) is not list or len(found) != len(order) + 1 or found[0] != digest:
            raise ValueError("it is of another list")
        return [_bound(value, each.column) for value, each in zip(found[1:], order, strict=True)]
    except (ValueError, RecursionError, OverflowError) as error:
        raise InvalidInputError(
            "This cursor does not belong to this list. Begin again without one, or keep model, filters and order."
        ) from error


def _bound(value: Any, column: Column) -> Bound:
    if column.kind in _NUMBERS:
        fits = type(value) is int and -(2**63) <= value < 2**63
    elif column.kind is Kind.REAL:
        fits = type(value) is float
    else:
        fits = type(value) is str and "\0" not in value and bool(value.encode() or True)
    if not fits:
        raise ValueError("a value is of another type than its column")
    plain = column._replace(to_plain=None, to_python=None)  # an Enum may have lost the member
    if column.kind is Kind.UUID:
        return Bound(plain, UUID(value))
    convert = PLAIN.decoder(plain)
    return Bound(plain, value if convert is None else convert(value))
