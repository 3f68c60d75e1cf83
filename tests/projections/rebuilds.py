"""Rebuilding in tests: while others write and read, by code that changed, over rows that somebody spoilt."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import apsw

from diptych.handlers import on
from diptych.messages import Metadata
from diptych.projections.backfill import Subject
from diptych.projections.definition import define
from diptych.projections.plan import Mode
from diptych.projections.projection import Projection
from diptych.projections.rebuilding import Decide, Jobs, Rebuild, Rebuilt, build_here
from diptych.projections.refolding import Refolding
from diptych.projections.site import Rules
from diptych.read.models import Key, ReadModel, table_of
from diptych.store.batches import Db
from diptych.store.generations import Comparison, Generation
from diptych.store.opening import views_path
from diptych.store.postgres.connection import database_of, open_connection
from diptych.store.postgres.fence import LET_IN
from diptych.store.sqlite.fence import let_in
from diptych.subscriptions.reading import Pace
from tests.projections import shop
from tests.projections.running import FAST, Running
from tests.projections.shop import Added, Basket, Fact, HandWritten, Placed

PACE = FAST.pace._replace(hold=2.0)
FROZEN = Rules(PACE, on_change="freeze")
KEEPING = Rules(PACE)


class Seen(NamedTuple):
    """What a decision was made on."""

    old: Generation | None
    new: Generation
    comparison: Comparison | None


class Decided:
    """Swaps or not, and keeps what it was shown."""

    def __init__(self, *, swaps: bool = True) -> None:
        self._swaps, self.seen = swaps, list[Seen]()

    async def __call__(self, old: Generation | None, new: Generation, comparison: Comparison | None) -> bool:
        """Decide."""
        self.seen.append(Seen(old, new, comparison))
        return self._swaps


def subject_of(shop_: Running, given: type[Projection[Any]], mode: Mode = "async", pace: Pace = PACE) -> Subject:
    """Return what a rebuild of one projection works with, over the stores of what runs."""
    definition = define(given, mode)
    views = shop_.events.inline if mode == "inline" else shop_.views
    return Subject(definition, shop_.events, views, shop_.codec, pace)


async def rebuild(
    subject: Subject, decide: Decide | None = None, jobs: Jobs | None = None, *, compares: bool = True
) -> Rebuilt:
    """Rebuild in this process."""
    work = Rebuild(subject, jobs or build_here(subject), lambda *_: None)
    return await work.run(decide or Decided(), compares=compares)


async def differences(subject: Subject) -> list[str]:
    """Fold the projection again, independently, and say which rows are not as they should be."""
    folding = Refolding(subject.definition, subject.events, subject.views, subject.codec)
    try:
        return [str(one) async for one in folding.differences(lambda *_: None)]
    finally:
        await folding.close()


async def live(subject: Subject) -> Generation:
    """The generation that is read."""
    return next(one for one in await subject.views.generations.all(subject.name) if one.state == "live")


async def plant(url: str, sql: str) -> None:
    """Change rows behind everybody's back; `url` is of the events."""
    if url.startswith("sqlite"):
        connection = apsw.Connection(views_path(url.removeprefix("sqlite:///")))
        connection.set_busy_timeout(5000)
        let_in(connection)
        connection.execute(sql)
        connection.close()
        return
    database = database_of(url)[0]
    server = await open_connection(database, {"search_path": database.schema, **LET_IN})
    await server.execute(sql)
    await server.close()


def orders(count: int, lines: int = 2, *, first: int = 0) -> list[Fact]:
    """So many new orders, with so many lines each."""
    facts: list[Fact] = []
    for number in range(first, first + count):
        one = shop.order(str(number))
        facts += [(one, shop.placed()), *[(one, shop.added(f"thing {number % 7}"))] * lines]
    return facts


@asynccontextmanager
async def writing(shop_: Running, seed: int = 1) -> AsyncIterator[list[int]]:
    """Append as fast as it goes, to new streams and old ones, until the block ends. Yields positions written."""
    random, written = Random(seed), list[int]()

    async def write(is_over: asyncio.Event) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            old = shop.order(str(random.randrange(50)))
            appended = await shop_.append([*orders(1, first=10_000 + number), (old, shop.added("pen", number % 3))])
            written.append(appended.position)
            await asyncio.sleep(0)

    async with _beside(write):
        yield written


@asynccontextmanager
async def reading(shop_: Running, *models: type[ReadModel]) -> AsyncIterator[list[int]]:
    """Count the rows of these models as often as it goes, until the block ends; there are never fewer than at first.

    Yields the sums. Whatever a query raises comes out of the block.
    """
    counts: list[int] = []
    sql = " + ".join(f'(SELECT count(*) FROM "{table_of(model).name}")' for model in models)

    async def read(is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            async with shop_.views.reader() as session:
                ((count,),) = await session.fetch(f"SELECT {sql}", {})
            assert count >= max([1, *counts[:1]]), "rows were gone for a while"
            counts.append(count)
            await asyncio.sleep(0.001)

    async with _beside(read):
        yield counts


@asynccontextmanager
async def _beside(work: Callable[[asyncio.Event], Any]) -> AsyncIterator[None]:
    """Run something until the block ends; what it raises comes out of the block."""
    is_over = asyncio.Event()
    task = asyncio.ensure_future(work(is_over))
    try:
        yield
    finally:
        is_over.set()
        await task


# --- code that changed -----------------------------------------------------------------------------------------------


class WholeBaskets(Projection[Basket], name="baskets"):
    """`shop.Baskets` with a key that nobody can know to be the stream's: not isolated, one lane."""

    @on(key=lambda event, meta: meta.stream.id)
    def placed(self, event: Placed, meta: Metadata) -> Basket:
        return Basket(id=meta.stream.id, total=Decimal(0), items=0)

    @on(key=lambda event, meta: meta.stream.id)
    def added(self, row: Basket, event: Added) -> Basket:
        return row.replace(total=row.total + event.quantity * event.price, items=row.items + event.quantity)


class DoubleBaskets(Projection[Basket], name="baskets", version=2):
    """`shop.Baskets` that counts everything twice."""

    @on
    def placed(self, event: Placed, meta: Metadata) -> Basket:
        return Basket(id=meta.stream.id, total=Decimal(0), items=0)

    @on
    def added(self, row: Basket, event: Added) -> Basket:
        return row.replace(items=row.items + 2 * event.quantity)


class StrictBySql(Projection[HandWritten], name="sales_by_sql", version=2):
    """`shop.SalesBySql` that cannot take a product until it is mended."""

    is_mended = False

    async def handle(self, event: Added, db: Db) -> None:
        if event.product == "thing 3" and not type(self).is_mended:
            raise RuntimeError("no SQL for that")
        await db.execute(
            "INSERT INTO hand_written (product, lines) VALUES (:product, 1) "
            "ON CONFLICT (product) DO UPDATE SET lines = hand_written.lines + 1",
            product=event.product,
        )


def wider() -> tuple[type[Projection[Any]], type[ReadModel]]:
    """Return `shop.Baskets` with a row of another shape, and that row."""

    class Basket(ReadModel):
        id: Annotated[UUID, Key]
        items: int
        lines: int

    class Baskets(Projection[Basket]):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:
            return Basket(id=meta.stream.id, items=0, lines=0)

        @on
        def added(self, row: Basket, event: Added) -> Basket:
            return row.replace(items=row.items + event.quantity, lines=row.lines + 1)

    return Baskets, Basket


def keys(comparison: Comparison | None) -> Sequence[Any]:
    """The keys of the rows that a comparison shows."""
    assert comparison is not None
    return [key for table in comparison.tables for key, _, _ in table.samples]
