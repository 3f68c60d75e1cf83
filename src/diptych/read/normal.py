"""Values in the form in which a store gives them back, from the moment a row is made.

A method must see the same row whether it was read or made in the same batch: `row.placed_at.date()` of a time with
another offset, or the text of Decimal("1.5") beside "1.50", would depend on where a batch ends (P1, P3).
Rule: what changes here is equal before and after.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from diptych.read.columns import PLAIN, scale_of, unwrap
from diptych.store.tables import Kind

_WIDE: Final = Context(prec=100)


def normalising(schema: CoreSchema, fields: Mapping[str, FieldInfo]) -> CoreSchema:
    """Return a model's schema with the normal form as the last step of each field that has one."""
    inner: Any = schema
    while inner["type"] != "model-fields":
        if "schema" not in inner:
            return schema
        inner = inner["schema"]
    for name, field in inner["fields"].items():
        place, to_normal = field, _to_normal(fields[name])
        if to_normal is None:
            continue
        while place["schema"]["type"] in ("default", "nullable"):
            place = place["schema"]
        place["schema"] = core_schema.no_info_after_validator_function(to_normal, place["schema"])
    return schema


def _to_normal(field: FieldInfo) -> Callable[[Any], Any] | None:
    kind = unwrap(field.annotation, field.metadata)
    match PLAIN.get(kind.type):
        case Kind.DATETIME:
            return _in_utc
        case Kind.DECIMAL:
            return _with_places(scale_of(kind.metadata))
    return None


def _in_utc(value: Any) -> Any:
    if not isinstance(value, datetime) or value.tzinfo is None or value.tzinfo is UTC:
        return value
    try:
        return value.astimezone(UTC)
    except OverflowError:  # no store takes it
        return value


def _with_places(places: int) -> Callable[[Any], Any]:
    quantum = Decimal((0, (1,), -places))

    def to_normal(value: Any) -> Any:
        if not isinstance(value, Decimal) or not value.is_finite():
            return value
        if value.same_quantum(quantum) and (value or not value.is_signed()):
            return value
        if not value:
            return quantum - quantum  # never -0
        exact = value.quantize(quantum, context=_WIDE) if abs(value.adjusted()) < 50 else value
        return exact if exact == value else value

    return to_normal
