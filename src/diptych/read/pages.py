"""Pages of rows, and the opaque cursors that lead from one to the next.

Rule: a cursor says where a page ended, in one list only: of this model, these filters, this order.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from diptych.errors import InvalidInputError
from diptych.read.conditions import Order
from diptych.store.tables import Bound, Kind, Table

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


def to_cursor(digest: str, values: Sequence[Any]) -> str:
    """Return the cursor that leads past a row with these values of the order's columns."""
    text = json.dumps([digest, *values], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_cursor(cursor: str, digest: str, order: Sequence[Order]) -> list[Any]:
    """Return the values in a cursor. :raises InvalidInputError: it is forged, damaged or of another list."""
    try:
        if len(cursor) > _LONGEST:
            raise ValueError("it is too long")
        found = json.loads(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
        if type(found) is not list or len(found) != len(order) + 1 or found[0] != digest:
            raise ValueError("it is of another list")
        for value, each in zip(found[1:], order, strict=True):
            _check(value, each.column.kind)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            "This cursor does not belong to this list. Begin again without one, or keep model, filters and order."
        ) from error
    return found[1:]


def _check(value: Any, kind: Kind) -> None:
    if kind in _NUMBERS:
        fits = type(value) is int and -(2**63) <= value < 2**63
    elif kind is Kind.REAL:
        fits = type(value) is float
    else:
        fits = type(value) is str and "\0" not in value and bool(value.encode() or True)
    if not fits:
        raise ValueError("a value is of another type than its column")
