"""`Projection`: what a user subclasses to say how events become rows.

Rule: a projection is pure; it gets rows, events and metadata, and nothing that could cause an effect (P9).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from diptych.errors import ConfigurationError
from diptych.handlers import alternatives, local_names
from diptych.projections.methods import misfits

Rows = TypeVar("Rows")


class Projection(Generic[Rows]):
    """Turns events into rows of the read models in its brackets: `Projection[OrderSummary | CustomerName]`.

    A method marked `@on` returns what the row will be: a row, a sequence of rows, or None for no row where its
    annotation says `| None`. The row is found by the stream's id unless `key=` or `each=` says otherwise. A row
    that a method takes is the one it returns; another one is a look-up, by a field of the event or the stream's id:
    `Annotated[CustomerName | None, Key("customer_id")]`, `Annotated[Order, Key]`.

        class Sales(Projection[ProductSales]):
            @on(key="product_id")
            def sold(self, row: ProductSales | None, event: OrderItemAdded) -> ProductSales: ...

    Or write the SQL yourself: `async def handle(self, event: OrderCreated | OrderCancelled, db: Db) -> None`, which may
    await nothing but its `db`. Either way each event takes effect once: rows and checkpoint commit together.

    A method that is async, or takes a row of one read model and returns another, is refused when the class is made.

    `class Sales(Projection[...], name="sales", version=2)`: a raised version builds the rows again from the start.
    """

    projection_name: ClassVar[str | None] = None
    projection_version: ClassVar[int] = 1
    projection_names: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, name: str | None = None, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if type(version) is not int or not 0 < version < 2**31:
            raise TypeError(f"{cls.__name__}: version={version!r}; a projection's version is a whole number from 1 on.")
        cls.projection_name, cls.projection_version = name, version
        cls.projection_names = local_names()
        owned = [argument for argument in brackets(cls) if isinstance(argument, type)]
        faults = misfits(cls, owned) if owned else ()
        if faults:
            raise ConfigurationError(faults)


def brackets(cls: type) -> tuple[Any, ...]:
    """Return what stands in the brackets of the nearest base that has any."""
    for base in cls.__mro__:
        for origin in getattr(base, "__orig_bases__", ()):
            if get_origin(origin) is Projection:
                argument = get_args(origin)[0]
                return alternatives(argument)
    return ()
