"""From the annotation of a read model's field to the column that keeps it.

Rule: what has no exact, sortable place in a database is refused here, with a sentence, when the class is made.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, Flag
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, FutureDatetime, NaiveDatetime, PastDatetime, TypeAdapter
from pydantic.fields import FieldInfo

from diptych.store.tables import Column, Kind

DEFAULT_SCALE: Final = 6

PLAIN: Final[dict[Any, Kind]] = {
    str: Kind.TEXT,
    bool: Kind.BOOLEAN,
    int: Kind.INTEGER,
    float: Kind.REAL,
    Decimal: Kind.DECIMAL,
    datetime: Kind.DATETIME,
    AwareDatetime: Kind.DATETIME,
    PastDatetime: Kind.DATETIME,
    FutureDatetime: Kind.DATETIME,
    date: Kind.DATE,
    UUID: Kind.UUID,
}
_NESTED: Final = (list, dict, tuple)

_MONEY_WORDS: Final = (
    "amount price total subtotal cost balance fee money revenue salary tax discount payment paid due charge refund "
    "credit debit income expense turnover wage deposit"
)
_MEASURE_WORDS: Final = "rate ratio percent percentage factor share weight score seconds hours count"
_MONEY: Final = frozenset(_MONEY_WORDS.split())
_MEASURES: Final = frozenset(_MEASURE_WORDS.split())


class FieldType(NamedTuple):
    """An annotation taken apart: what is left of it, whether None is allowed, and everything it was annotated with."""

    type: Any
    is_nullable: bool
    metadata: tuple[Any, ...]


def unwrap(annotation: Any, metadata: Sequence[Any] = ()) -> FieldType:
    """Peel `Annotated`, `| None`, `NewType` and type aliases off an annotation."""
    notes, is_nullable = list(metadata), False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            notes.extend(_flat(more))
        elif origin in (Union, UnionType) and NoneType in get_args(annotation):
            is_nullable = True
            rest = [each for each in get_args(annotation) if each is not NoneType]
            annotation = rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007 - of a computed tuple
            if len(rest) != 1:
                return FieldType(annotation, is_nullable, tuple(notes))
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return FieldType(annotation, is_nullable, tuple(notes))


def _flat(notes: Sequence[Any]) -> Iterator[Any]:
    for note in notes:
        yield from note.metadata if isinstance(note, FieldInfo) else (note,)


def column_of(owner: str, name: str, field: FieldInfo) -> Column:
    """Return the column for this field. :raises TypeError: with a sentence, when it has no exact place."""
    where = f"{owner}.{name}"
    unwrapped = unwrap(field.annotation, field.metadata)
    target, is_nullable = unwrapped.type, unwrapped.is_nullable
    if target is NaiveDatetime:
        raise TypeError(f"{where}: a time without zone is ambiguous. Use AwareDatetime.")
    _refuse_losses(where, name, target)
    kind = PLAIN.get(target)
    if kind is not None:
        scale = scale_of(unwrapped.metadata) if kind is Kind.DECIMAL else DEFAULT_SCALE
        if not 0 <= scale <= 18:
            raise TypeError(f"{where}: decimal_places must be between 0 and 18, not {scale}.")
        return Column(name, kind, is_nullable, scale)
    if isinstance(target, type) and issubclass(target, Enum):
        return _enum_column(where, name, target, is_nullable)
    if get_origin(target) is Literal:
        return Column(name, _kind_of_values(where, get_args(target)), is_nullable)
    if _is_nested(target):
        to_plain, to_python = _json(target)
        return Column(name, Kind.JSON, is_nullable, to_plain=to_plain, to_python=to_python)
    raise TypeError(
        f"{where}: {_name(target)} cannot be a column. Use str, int, bool, Decimal, AwareDatetime, date, UUID, an Enum "
        "or Literal of str or int, one of these or None, or a pydantic model, list, dict or tuple (kept as JSON)."
    )


def _name(target: Any) -> str:
    return target.__name__ if isinstance(target, type) else str(target)


def scale_of(metadata: Sequence[Any]) -> int:
    """Return the decimal places that a field's metadata says, or the usual."""
    for note in metadata:
        places = getattr(note, "decimal_places", None)
        if places is not None:
            return int(places)
    return DEFAULT_SCALE


def _enum_column(where: str, name: str, target: type[Enum], is_nullable: bool) -> Column:
    if issubclass(target, Flag):
        raise TypeError(f"{where}: a Flag cannot be a column. Use one bool field for each flag, or an Enum.")
    kind = _kind_of_values(where, [member.value for member in target])
    members = {member.value: member for member in target}
    return Column(name, kind, is_nullable, to_plain=attrgetter("_value_"), to_python=members.__getitem__)


def _kind_of_values(where: str, values: Sequence[Any]) -> Kind:
    types = {type(value) for value in values}
    for kind, allowed in ((Kind.TEXT, str), (Kind.BOOLEAN, bool), (Kind.INTEGER, int)):
        if types == {allowed}:
            return kind
    raise TypeError(f"{where}: its values must all be str, or all int, to have one column type.")


def _is_nested(target: Any) -> bool:
    if target in _NESTED or get_origin(target) in _NESTED:
        return True
    return isinstance(target, type) and issubclass(target, BaseModel)


def _json(target: Any) -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    """Return the two functions between a nested value and its JSON text; aliases play no part in them."""
    adapter = TypeAdapter(target)

    def dump(value: Any) -> str:
        return adapter.dump_json(value, round_trip=True, by_alias=False).decode()

    def load(text: str) -> Any:
        return adapter.validate_json(text, by_alias=False, by_name=True)

    return dump, load


def _refuse_losses(where: str, name: str, target: Any, seen: tuple[Any, ...] = ()) -> None:
    if target is float:
        words = name.split("_")
        if words[-1] not in _MEASURES and not _MONEY.isdisjoint(words):
            raise TypeError(
                f"{where}: money is never a float, 0.1 + 0.2 is not 0.3 there. "
                f"Use Annotated[Decimal, Field(decimal_places=2)], or another name if it is not money."
            )
    elif isinstance(target, type) and issubclass(target, BaseModel):
        for inner, field in target.model_fields.items() if target not in seen else ():
            if field.exclude:
                raise TypeError(f"{where}.{inner}: exclude=True keeps it out of the JSON, so it would be lost.")
            _refuse_losses(f"{where}.{inner}", inner, unwrap(field.annotation).type, (*seen, target))
    else:
        for inner in get_args(target) if get_origin(target) is not Literal else ():
            _refuse_losses(where, name, unwrap(inner).type, seen)
