"""Read models: the shape of rows, declared as typed frozen classes.

Rule: a read model is data; who writes it is a projection's business, who reads it a query handler's.
"""

from collections.abc import Callable, Iterator, Mapping
from inspect import get_annotations
from typing import Any, ClassVar, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic._internal._model_construction import ModelMetaclass
from pydantic_core import CoreSchema
from typing_extensions import dataclass_transform

from diptych.read.accepting import Accept, acceptances
from diptych.read.columns import column_of
from diptych.read.normal import normalising
from diptych.store.tables import Kind, Table, check_identifier, snake_case

_TABLE: Final = "__diptych_table__"
_Known: TypeAlias = tuple[Mapping[str, Accept], Callable[[dict[str, Any]], Any], int]
_NEVER: Final = (type(None), lambda _: False)
_WRONG_OPTIONS: Final = (
    ("frozen", False, "they are replaced, never changed in place"),
    ("extra", "allow", "what is no field is no column and would be lost"),
    ("use_enum_values", True, "a column gives back members"),
)


class Key:
    """Marks a field as (part of) the key: `id: Annotated[UUID, Key]`. Several of them together are the key.

    Called, it marks a projection's look-up: `customer: Annotated[CustomerName | None, Key("customer_id")]` is the row
    whose key is that field of the event; several names for a key of several columns.
    """

    __slots__ = ("fields",)

    def __init__(self, *fields: str) -> None:
        self.fields = fields

    def __repr__(self) -> str:
        return f"Key({', '.join(map(repr, self.fields))})"


class Index:
    """Marks a field to be found by: `customer_id: Annotated[UUID, Index]`.

    Called, the index goes on with other columns: `Annotated[UUID, Index("created_at")]` is the one to list a
    customer's orders by time.
    """

    __slots__ = ("then",)

    def __init__(self, *then: str) -> None:
        self.then = then

    def __repr__(self) -> str:
        return f"Index({', '.join(map(repr, self.then))})"


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
class _ReadModelMeta(ModelMetaclass):
    """Tells type checkers that read models are frozen and take keywords only."""


class ReadModel(BaseModel, metaclass=_ReadModelMeta):
    """A row for reading. `OrderSummary` becomes the table `order_summary`, each field a column.

    class OrderSummary(ReadModel):
        id: Annotated[UUID, Key]
        customer_id: Annotated[UUID, Index]
        total_amount: Annotated[Decimal, Field(decimal_places=2)]
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    __diptych_known__: ClassVar[_Known | None] = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return normalising(handler(source), cls.model_fields)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__diptych_known__ = None  # not its parent's
        if "replace" in get_annotations(cls) or "replace" in vars(cls):
            raise TypeError(f"{cls.__name__}.replace: this name is reserved by Diptych. Choose another field name.")

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.__pydantic_complete__ and cls.model_fields:
            table_of(cls)

    def replace(self, **changes: Any) -> Self:
        """Return this row with some fields changed, strictly validated.

        :raises pydantic.ValidationError: a value is not of its field's type, or there is no such field.
        """
        model = type(self)
        accepts, build, width = model.__diptych_known__ or _learn(model)
        for name, value in changes.items():
            kind, check = accepts.get(name, _NEVER)
            if type(value) is not kind or not (check is None or check(value)):
                break
        else:
            values = {**self.__dict__, **changes}
            if len(values) > width:  # a cached_property is of this row alone
                values = _fields_of(model, values)
            built: Self = build(values)
            return built
        values = {**_fields_of(model, self.__dict__), **changes}
        validated: Self = self.__pydantic_validator__.validate_python(values, strict=True)
        return validated


def _fields_of(model: type[ReadModel], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in model.__pydantic_fields__}


def table_of(model: type[ReadModel]) -> Table:
    """Return the table that keeps rows of this model. :raises TypeError: it cannot be one; the sentence says why."""
    known = model.__dict__.get(_TABLE)
    if isinstance(known, Table):
        return known
    if not model.__pydantic_complete__:
        model.model_rebuild()
    table = _table(model)
    setattr(model, _TABLE, table)
    return table


def _learn(model: type[ReadModel]) -> _Known:
    known = model.__diptych_known__ = acceptances(model, (Key, Index)), table_of(model).build, len(model.model_fields)
    return known


def table_name(model: type[ReadModel]) -> str:
    """Return the class name in snake_case: `HTTPRequestLog` is `http_request_log`."""
    return snake_case(model.__name__)


def _table(model: type[ReadModel]) -> Table:
    name = model.__name__
    _refuse_hidden_state(model)
    columns = tuple(column_of(name, field, info) for field, info in model.model_fields.items())
    try:
        check_identifier(table_name(model), "The table name")
        if table_name(model).startswith("sqlite_"):
            raise ValueError("SQLite keeps names that begin with sqlite_ for itself")
        for column in columns:
            check_identifier(column.name, "The column name")
    except ValueError as error:
        raise TypeError(f"{name}: {error}") from error
    key = tuple(field for field, marker in _marked(model, Key))
    if not key:
        raise TypeError(f"{name} has no key. Mark the field that identifies a row: `id: Annotated[UUID, Key]`.")
    for column in columns:
        if column.name in key and column.is_nullable:
            raise TypeError(f"{name}.{column.name}: a key cannot be None. Leave out `| None`.")
        if column.name in key and column.kind is Kind.JSON:
            raise TypeError(f"{name}.{column.name}: what is kept as JSON cannot be a key. Use columns of their own.")
    return Table(table_name(model), columns, key, _indexes(model, key), _builder(model))


def _refuse_hidden_state(model: type[ReadModel]) -> None:
    for option, wrong, why in _WRONG_OPTIONS:
        if model.model_config.get(option) == wrong:
            raise TypeError(f"{model.__name__}.model_config: {option}={wrong!r} does not go with rows: {why}.")
    if model.__private_attributes__:
        name = next(iter(model.__private_attributes__))
        raise TypeError(
            f"{model.__name__}.{name}: a private attribute is no column and would be lost. Make it a field."
        )
    for name, field in model.model_fields.items():
        if field.validation_alias is not None:
            raise TypeError(
                f"{model.__name__}.{name}: the column is named as the field, so it takes no alias. "
                "Use serialization_alias for the name in answers."
            )


def _marked(model: type[ReadModel], marker: type[Key] | type[Index]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the fields with this marker, bare or called, and the names it was called with."""
    for name, field in model.model_fields.items():
        for note in field.metadata:
            if note is marker:
                yield name, ()
            elif isinstance(note, Key) and marker is Key:
                if note.fields:
                    raise TypeError(f"{model.__name__}.{name}: {note!r} belongs on a projection's parameter. Use Key.")
                yield name, ()
            elif isinstance(note, Index) and marker is Index:
                yield name, note.then


def _indexes(model: type[ReadModel], key: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    indexes = []
    for name, then in _marked(model, Index):
        unknown = [column for column in then if column not in model.model_fields]
        if unknown:
            raise TypeError(f"{model.__name__}.{name}: Index({unknown[0]!r}) names no field of {model.__name__}.")
        index = (name, *then)
        if index != key[: len(index)] and index not in indexes:
            indexes.append(index)
    return tuple(indexes)


def _builder(model: type[ReadModel]) -> Any:
    """Return a function that makes a row of values that are known to be right, without validating them again."""
    new, fields = model.__new__, set(model.model_fields)
    slots = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    put_values, put_fields, put_extra, put_private = [vars(BaseModel)[name].__set__ for name in slots]

    def build(values: Mapping[str, Any]) -> Any:
        row = new(model)
        put_values(row, values if type(values) is dict else dict(values))
        put_fields(row, fields)
        put_extra(row, None)
        put_private(row, None)
        return row

    return build
