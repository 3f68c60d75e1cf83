"""Which values a field takes as they are, told without the validator: `replace` is on the hot path of every projection.

Rule: only say yes where strict validation would return the very same object; everything else is the validator's.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, Final, TypeAlias
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from diptych.read.columns import DEFAULT_SCALE, unwrap

Accept: TypeAlias = tuple[type, Callable[[Any], bool] | None]
"""The only type that is taken as it is, and what its values must also pass."""

_BY_TYPE: Final[Mapping[Any, Accept]] = {
    str: (str, str.isascii),
    bool: (bool, None),
    int: (int, None),
    float: (float, isfinite),
    UUID: (UUID, None),
    date: (date, None),
    datetime: (datetime, lambda value: value.tzinfo is UTC),
    AwareDatetime: (datetime, lambda value: value.tzinfo is UTC),
}


def acceptances(model: type[BaseModel], markers: tuple[type, ...]) -> Mapping[str, Accept]:
    """Return what accepts each simple field's value, by name; nothing for a model with validators of its own."""
    decorators = model.__pydantic_decorators__
    has_own = decorators.field_validators or decorators.model_validators or decorators.validators
    if has_own or decorators.root_validators or set(model.model_config) - {"frozen", "extra", "allow_inf_nan"}:
        return {}
    found = {}
    for name, field in model.model_fields.items():
        kind = unwrap(field.annotation, field.metadata)
        rules = [note for note in kind.metadata if note not in markers and not isinstance(note, markers)]
        accept = _accept(kind.type, rules)
        if accept is not None:
            found[name] = accept
    return found


def _accept(kind: Any, rules: list[Any]) -> Accept | None:
    if kind is Decimal and not rules:
        return _decimal(DEFAULT_SCALE)
    if rules:
        said = getattr(rules[0], "__dict__", {}) if len(rules) == 1 else {}
        return _decimal(said["decimal_places"]) if kind is Decimal and list(said) == ["decimal_places"] else None
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind, None
    return _BY_TYPE.get(kind)


def _decimal(places: int) -> Accept:
    same_quantum = Decimal((0, (1,), -places)).same_quantum
    return Decimal, lambda value: same_quantum(value) and (not value.is_signed() or bool(value))
