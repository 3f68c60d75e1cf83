"""Rows of hand-written SELECTs, as the types that the caller asks for.

Rule: a number whose meaning is not known (a scaled decimal, a time) is refused, never guessed.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, get_type_hints, is_typeddict

from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from diptych.errors import ProgrammingError, ValueDoesNotFitError
from diptych.read.columns import unwrap
from diptych.store.protocols import Selected


@lru_cache(maxsize=256)
def _adapter(result: Any) -> tuple[TypeAdapter[Any], Mapping[str, Any] | None]:
    """Return the validator of a result type, and its fields; None when it is a plain type."""
    if isinstance(result, type) and issubclass(result, BaseModel):
        return TypeAdapter(result), {name: field.annotation for name, field in result.model_fields.items()}
    if is_dataclass(result) or is_typeddict(result):
        hints = get_type_hints(result)
        names = [field.name for field in fields(result)] if is_dataclass(result) else list(hints)
        return TypeAdapter(result), {name: hints[name] for name in names}
    return TypeAdapter(result), None


def results(result: Any, selected: Selected) -> list[Any]:
    """Build the rows. :raises ValueDoesNotFitError: a row does not validate as `result`."""
    adapter, wanted = _adapter(result)
    name = getattr(result, "__name__", str(result))
    if wanted is None and len(selected.names) != 1:
        raise ProgrammingError(f"A list of {name} needs a SELECT of one column, not {', '.join(selected.names)}.")
    _refuse_unknown_numbers(name, wanted if wanted is not None else {selected.names[0]: result}, selected)
    try:
        if wanted is None:
            return [adapter.validate_python(row[0]) for row in selected.rows]
        return [adapter.validate_python(dict(zip(selected.names, row, strict=True))) for row in selected.rows]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join([name, *map(str, first["loc"])])
        raise ValueDoesNotFitError(where, first["input"], first["msg"]) from error


def _refuse_unknown_numbers(name: str, wanted: Mapping[str, Any], selected: Selected) -> None:
    for place, (field, column) in enumerate(zip(selected.names, selected.columns, strict=True)):
        if column is not None or unwrap(wanted.get(field)).type not in (Decimal, datetime, AwareDatetime):
            continue
        if any(row[place] is not None for row in selected.rows):
            raise ProgrammingError(
                f"{name}.{field} is computed by the query, so its scale is not known. Name it as the column that it is "
                "made of (sum(total_amount) AS total_amount), and the field likewise."
            )
