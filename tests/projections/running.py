"""The engine over real stores, for tests: opened, started, stopped and closed together."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from diptych.events.codec import Codec
from diptych.projections.definition import define_all
from diptych.projections.engine import ProjectionEngine
from diptych.projections.plan import Mode
from diptych.projections.projection import Projection
from diptych.projections.site import Rules
from diptych.read.models import ReadModel, table_of
from diptych.store.opening import open_stores
from diptych.store.protocols import Appended, EventStore, ViewStore
from diptych.subscriptions.reading import Pace
from tests.projections import shop
from tests.projections.shop import Fact

FAST = Rules(Pace(poll=0.2, save=0.2, first_pause=0.01, longest_pause=0.2, lease=0.2))
Given = type[Projection[Any]] | tuple[type[Projection[Any]], Mode]


@dataclass(frozen=True)
class Running:
    """The parts of what runs."""

    events: EventStore
    views: ViewStore
    engine: ProjectionEngine
    codec: Codec

    async def append(self, facts: Sequence[Fact]) -> Appended:
        """Append facts, the inline projections with them."""
        return await shop.append(self.events, facts, inline=self.engine.inline)

    async def rows(self, model: type[ReadModel], views: ViewStore | None = None) -> dict[Any, Any]:
        """Return all rows of a read model by key; by the one value if the key is one column."""
        table = table_of(model)
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        async with (views or self.views).reader() as session:
            raw = await session.fetch(f'SELECT {columns} FROM "{table.name}"', {})
            built = session.decode(table, raw)
        keys = [tuple(getattr(row, name) for name in table.key) for row in built]
        return {key[0] if len(key) == 1 else key: row for key, row in zip(keys, built, strict=True)}


@asynccontextmanager
async def running(
    url: str,
    *projections: Given,
    rules: Rules = FAST,
    wrap: Callable[[EventStore], EventStore] = lambda store: store,
    wrap_views: Callable[[ViewStore], ViewStore] = lambda views: views,
    is_started: bool = True,
    codec: Codec | None = None,
) -> AsyncIterator[Running]:
    """Open the stores of a URL and run projections over them."""
    definitions = define_all([given if isinstance(given, tuple) else (given, "async") for given in projections])
    stores, codec = open_stores(url), codec or Codec()
    for event in shop.EVENTS:
        codec.register(event)
    events, views = wrap(stores.events), wrap_views(stores.views)
    await events.open()
    engine = ProjectionEngine(events, views, codec, definitions, rules)
    try:
        await events.inline.open(engine.inline_tables, store_id=events.store_id)
        await views.open(engine.async_tables, store_id=events.store_id)
        if is_started:
            await engine.start()
        yield Running(events, views, engine, codec)
    finally:
        await engine.stop()
        await views.close()
        await events.close()


def by_key(rows: Mapping[tuple[Any, ...], Any]) -> dict[Any, Any]:
    """Return rows by their one key value."""
    return {key[0]: row for key, row in rows.items()}


async def applied(url: str, given: Given, facts: Sequence[Fact], rules: Rules = FAST) -> None:
    """Append these and have a projection apply them, by code that ends then: what is found by the code that follows."""
    async with running(url, given, rules=rules) as before:
        await before.append(facts)
        await before.engine.caught_up()
