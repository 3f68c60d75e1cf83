"""What a query handler reads with: typed rows of one snapshot, on a connection that can do nothing else.

Rule: nothing here writes, waits for a projection or knows which projection keeps a table.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from diptych.errors import InvalidInputError, ReadModelNotFoundError
from diptych.read.conditions import after as rows_after
from diptych.read.conditions import conditions, orders, total_orders
from diptych.read.models import ReadModel, table_of
from diptych.read.pages import Page, from_cursor, list_digest, to_cursor
from diptych.read.results import results
from diptych.store.batches import Freshness
from diptych.store.protocols import ReadSession, ViewStore
from diptych.store.tables import Table

M = TypeVar("M", bound=ReadModel)
T = TypeVar("T")

LARGEST_PAGE: Final = 1000


def given(**filters: Any) -> dict[str, Any]:
    """Return the filters that are not None: `read.find(OrderSummary, **given(status=query.status))`."""
    return {name: value for name, value in filters.items() if value is not None}


class ReadModels:
    """Reads of one query, all from one snapshot. A query handler asks for it by annotation.

    Filters are keywords: `status=...`, `created_at__ge=...` (also `gt le lt ne in`); all of them must hold.
    `order_by` is a column's name, `-` before it for descending, or several of them.
    """

    __slots__ = ("_opening", "_session", "_source", "_views", "is_for_one", "tables")

    def __init__(self, views: ViewStore, *, is_for_one: bool = False) -> None:
        """It costs nothing until the first read; who makes it closes it.

        `is_for_one`: one `get` is expected to be all that is read; it says afterwards whether it was.
        """
        self._views, self.is_for_one = views, is_for_one
        self._source: Any = None
        self._session: ReadSession | None = None
        self._opening: asyncio.Lock | None = None
        self.tables: set[str] = set()  # names of those read so far

    async def get(self, model: type[M], key: Any) -> M | None:
        """Return the row with this key, or None. A key of several columns is a tuple."""
        table = table_of(model)
        self.is_for_one = self.is_for_one and not self.tables
        self.tables.add(table.name)
        session = self._session or await self._open()
        row: M | None = await session.get(table, key if type(key) is tuple else (key,))
        return row

    async def one(self, model: type[M], key: Any) -> M:
        """Return the row with this key. :raises ReadModelNotFoundError: there is none."""
        row = await self.get(model, key)
        if row is None:
            raise ReadModelNotFoundError(model.__name__, key)
        return row

    async def find(
        self,
        model: type[M],
        /,
        *,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
        **filters: Any,
    ) -> list[M]:
        """Return all rows that match, at most `limit` of them."""
        table = table_of(model)
        where = conditions(table, filters)
        sql = f"{_select(table)}{where.text}"
        if order_by is not None:
            sql += f" ORDER BY {', '.join(each.sql for each in orders(table, order_by))}"
        parameters: dict[str, Any] = dict(where.parameters)
        if limit is not None:
            sql += " LIMIT :size"
            parameters["size"] = limit
        session = await self._reading(table)
        return session.decode(table, await session.fetch(sql, parameters))

    async def count(self, model: type[ReadModel], /, **filters: Any) -> int:
        """Return how many rows match."""
        table = table_of(model)
        where = conditions(table, filters)
        session = await self._reading(table)
        rows = await session.fetch(f'SELECT count(*) FROM "{table.name}"{where.text}', where.parameters)  # noqa: S608
        return int(rows[0][0])

    async def page(
        self,
        model: type[M],
        /,
        *,
        order_by: str | Sequence[str] | None = None,
        size: int = 20,
        after: str | None = None,
        page: int = 1,
        **filters: Any,
    ) -> Page[M]:
        """Return up to `size` rows: those that follow the cursor `after`, or the `page`-th so many (1 is the first).

        By cursor each row appears once however the list changes meanwhile, and every page costs the same.
        :raises InvalidInputError: the cursor is of another list, or size or page are out of range.
        """
        table = table_of(model)
        order, where = total_orders(table, order_by), conditions(table, filters)
        _check_range(size, page, after)
        digest = list_digest(table, order, where.text, where.parameters)
        parameters: dict[str, Any] = {**where.parameters, "size": size + 1, "skipped": (page - 1) * size}
        sql = f"{_select(table)}{where.text}"
        if after is not None:
            sql += f"{' AND ' if where.text else ' WHERE '}{rows_after(order, 0)}"
            values = from_cursor(after, digest, order)
            parameters.update((f"c{number}", value) for number, value in enumerate(values))
        sql += f" ORDER BY {', '.join(each.sql for each in order)} LIMIT :size OFFSET :skipped"
        session = await self._reading(table)
        rows = await session.fetch(sql, parameters)
        has_more = len(rows) > size
        items = session.decode(table, rows[:size])
        cursor = to_cursor(digest, order, items[-1]) if has_more else None
        return Page[model].model_construct(  # type: ignore[valid-type]
            items=items, next_cursor=cursor, has_more=has_more
        )

    async def sql(self, result: type[T], sql: str, /, **parameters: Any) -> list[T]:
        """Run your own SELECT with named parameters (`:customer_id`) and return its rows as `result`.

        That is a read model, any pydantic model or dataclass with fields named as the result's columns, or a plain
        type for a single column. Decimals and times keep their meaning when their column is selected, or when what
        is computed of it is named as it is: `sum(total_amount) AS total_amount`.
        :raises ProgrammingError: a Decimal or time whose column cannot be told.
        """
        self.is_for_one = False
        session = self._session or await self._open()
        selected = await session.select(sql, parameters)
        self.tables.update(selected.tables)
        return results(result, selected)

    async def freshness(self, projection: str) -> Freshness:
        """Where a projection stands in this snapshot."""
        self.is_for_one = self.is_for_one and bool(self.tables)
        session = self._session or await self._open()
        return await session.freshness(projection)

    async def close(self) -> None:
        """End the snapshot; harmless when there was none."""
        source, self._source, self._session = self._source, None, None
        if source is not None:
            await source.__aexit__(None, None, None)

    async def _reading(self, table: Table) -> ReadSession:
        self.tables.add(table.name)
        self.is_for_one = False
        return self._session or await self._open()

    async def _open(self) -> ReadSession:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._session is None:
                source = self._views.reader(is_for_one=self.is_for_one)
                self._session = await source.__aenter__()
                self._source = source
            return self._session


def _select(table: Table) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f'SELECT {columns} FROM "{table.name}"'  # noqa: S608 - names of a checked table


def _check_range(size: int, page: int, after: str | None) -> None:
    if not 1 <= size <= LARGEST_PAGE:
        raise InvalidInputError(f"A page has 1 to {LARGEST_PAGE} rows, not {size}.")
    if not 1 <= page <= 10**9:
        raise InvalidInputError(f"Pages are numbered from 1, and there is no page {page}.")
    if after is not None and page != 1:
        raise InvalidInputError("Ask for a page by its number or by a cursor, not by both.")
