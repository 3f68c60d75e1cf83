"""P1, P2, P3: whatever happened, however it was cut, repeated and interrupted, rows are the fold over the log."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from diptych.clock import id_for
from diptych.errors import CheckpointMovedError
from diptych.events.codec import Codec
from diptych.messages import DomainEvent
from diptych.projections.batch import Portion, draft
from diptych.projections.definition import define
from diptych.projections.engine import ProjectionEngine
from diptych.projections.plan import Mode
from diptych.projections.site import Rules
from diptych.read.models import ReadModel, table_of
from diptych.store.batches import LaneMove, ViewBatch
from diptych.store.opening import open_stores
from diptych.store.protocols import Append, StreamWrite, ViewStore
from diptych.stream import ANY, StreamName
from diptych.subscriptions.reading import Pace, SharedPage
from tests.postgres import Server
from tests.projections.everything import (
    EVENTS,
    MODELS,
    Bought,
    Bundled,
    Closed,
    Everything,
    Joined,
    Moved,
    Opened,
    Recalled,
    Rows,
    naive,
)
from tests.urls import url_for

Fact = tuple[UUID, DomainEvent]

ids = st.sampled_from([id_for("any", name) for name in "ab"])
words = st.sampled_from(["pen", "ä", "it's"])
prices = st.sampled_from([Decimal("0.05"), Decimal("2.5"), Decimal(10), Decimal("-1")])
moments = st.builds(
    lambda hours, offset: (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)).astimezone(offset),
    st.integers(0, 40),
    st.sampled_from([UTC, timezone(timedelta(hours=11))]),
)
events = st.one_of(
    st.builds(Joined, name=words),
    st.builds(Moved, name=words, town=words),
    st.builds(Opened, customer_id=ids, at=moments),
    st.builds(Bought, product=words, count=st.integers(0, 3), price=prices),
    st.builds(Bought, product=words, count=st.integers(0, 1), price=prices),
    st.builds(Recalled, product=words),
    st.builds(Bundled, products=st.lists(words, max_size=3).map(tuple)),
    st.builds(Closed),
)
histories = st.lists(st.tuples(ids, events), min_size=8, max_size=40)
NO_SHRINKING = (Phase.explicit, Phase.generate)  # each example opens files: it would take minutes
QUICK = Rules(Pace(page_events=3, poll=0.05, save=0.05, first_pause=0.01, longest_pause=0.05))


def expected(facts: Sequence[Fact]) -> Rows:
    """The naive fold, over what an event looks like after it was written down."""
    codec, versions, numbered = Codec(), dict[UUID, int](), []
    for stream, event in facts:
        codec.register(type(event))
        versions[stream] = versions.get(stream, 0) + 1
        numbered.append((stream, versions[stream], type(event).model_validate_json(event.model_dump_json())))
    return naive(numbered)


async def found(views: ViewStore) -> Rows:
    """All rows of all models, by key."""
    rows: Rows = {}
    async with views.reader() as session:
        for model in MODELS:
            rows[model] = {_key(row): row.model_dump() for row in await _all(session, model)}
    return rows


async def _all(session: Any, model: type[ReadModel]) -> list[ReadModel]:
    table = table_of(model)
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    built: list[ReadModel] = session.decode(table, await session.fetch(f'SELECT {columns} FROM "{table.name}"', {}))
    return built


def _key(row: ReadModel) -> Any:
    key = tuple(getattr(row, name) for name in table_of(type(row)).key)
    return key[0] if len(key) == 1 else key


class Life:
    """One projection over one log, from start to stop, as often as wanted."""

    def __init__(self, url: str, facts: Sequence[Fact], mode: Mode = "async") -> None:
        self.stores, self.facts, self.definition, self.codec = (
            open_stores(url),
            facts,
            define(Everything, mode),
            Codec(),
        )
        for event in EVENTS:
            self.codec.register(event)
        self.engine = ProjectionEngine(self.stores.events, self.stores.views, self.codec, [self.definition], QUICK)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ViewStore]:
        """Open the stores; return the one that has the rows."""
        events, views = self.stores.events, self.stores.views
        await events.open()
        try:
            await events.inline.open(self.engine.inline_tables, store_id=events.store_id)
            await views.open(self.engine.async_tables, store_id=events.store_id)
            yield events.inline if self.definition.mode == "inline" else views
        finally:
            await views.close()
            await events.close()

    async def append(self, start: int, stop: int) -> None:
        """Append some of the facts, as commands would."""
        for stream, event in self.facts[start:stop]:
            write = StreamWrite(StreamName("", "Any", stream), ANY, [self.codec.encode(event)])
            appended = await self.stores.events.append(Append([write], inline=self.engine.inline))
            self.engine.appended(appended, 1)

    async def step(self, views: ViewStore, size: int, *, is_lost: bool = False, is_repeated: bool = False) -> bool:
        """Fold and commit the next events after the checkpoint; False at the end."""
        (live,) = await views.generations.all(self.definition.name)
        at = await views.checkpoint(self.definition.name)
        page = await self.stores.events.read_log(after=at.position, limit=size)
        if not page.events:
            return False
        last = page.events[-1]
        for attempt in range(2 if is_repeated else 1):
            batch = draft(self.definition, Portion(SharedPage(page, self.codec), range(len(page.events))), {})
            if batch.loads:
                batch.finish(await views.load(live.number, batch.loads))
            if is_lost:
                return True
            moves, place = [LaneMove(0, at.epoch, at.position)], (last.position, last.event_id, last.recorded_at)
            commit = views.commit(ViewBatch(self.definition.name, live.number, moves, *place, batch.changes))
            if attempt:
                with pytest.raises(CheckpointMovedError):
                    await commit
            else:
                await commit
        return True


steps = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["", "", "lost", "repeated", "restart"])), min_size=1, max_size=12
)


@pytest.mark.slow
@settings(max_examples=40, phases=NO_SHRINKING)
@given(histories, steps)
def test_batches_of_any_size_lost_repeated_and_restarted_come_to_the_same(
    facts: list[Fact], plan: list[tuple[int, str]]
) -> None:
    """P1, P2: an async projection on SQLite, step by step."""

    async def run(folder: str) -> Rows:
        url = f"sqlite:///{folder}/any.db"
        async with (first := Life(url, facts)).open():
            await first.append(0, len(facts))
        turn, is_more = 0, True
        while is_more:
            async with (life := Life(url, facts)).open() as views:
                while is_more:
                    size, what = plan[turn % len(plan)]
                    turn += 1
                    is_lost = what == "lost" and turn < 100
                    is_more = await life.step(views, size, is_lost=is_lost, is_repeated=what == "repeated")
                    if what == "restart" and turn < 5:
                        break
        async with Life(url, facts).open() as views:
            return await found(views)

    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(run(folder)) == expected(facts)


@pytest.mark.slow
@settings(max_examples=15, phases=NO_SHRINKING)
@given(histories, st.lists(st.integers(0, 40), max_size=2), st.sampled_from(["async", "inline"]))
def test_an_engine_stopped_and_started_at_any_time_comes_to_the_same(
    facts: list[Fact], stops: list[int], mode: Mode
) -> None:
    """P1: the whole engine on SQLite, killed between appends, beside them or after them."""

    async def run(folder: str) -> Rows:
        start = 0
        for stop in sorted([*stops, len(facts)]):
            life = Life(f"sqlite:///{folder}/any.db", facts, mode)
            async with life.open() as views:
                await life.engine.start()
                try:
                    await life.append(start, min(stop, len(facts)))
                    start = max(start, min(stop, len(facts)))
                    if start == len(facts):
                        await life.engine.caught_up(10)
                        return await found(views)
                finally:
                    await life.engine.stop()
        raise AssertionError("not all was appended")

    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(run(folder)) == expected(facts)


@pytest.mark.slow
@settings(max_examples=15, phases=NO_SHRINKING)
@given(histories, st.sampled_from(["async", "inline"]))
def test_memory_comes_to_the_same(facts: list[Fact], mode: Mode) -> None:
    """P1: the peer of SQLite."""
    assert asyncio.run(came_to("memory:", facts, mode)) == expected(facts)


@pytest.mark.slow
@settings(max_examples=15, phases=NO_SHRINKING)
@given(facts=histories, mode=st.sampled_from(["async", "inline"]))
def test_postgres_comes_to_the_same(postgres: Server, facts: list[Fact], mode: Mode) -> None:
    """P1: the same rows, of every history."""
    postgres.query("DROP SCHEMA IF EXISTS any_history CASCADE")
    assert asyncio.run(came_to(postgres.url(schema="any_history"), facts, mode)) == expected(facts)


async def came_to(url: str, facts: Sequence[Fact], mode: Mode) -> Rows:
    """Return the rows of these facts, made by a running engine."""
    life = Life(url, facts, mode)
    async with life.open() as views:
        await life.engine.start()
        try:
            await life.append(0, len(facts))
            await life.engine.caught_up(10)
            return await found(views)
        finally:
            await life.engine.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


def test_two_engines_on_one_store_come_to_the_same(url: str) -> None:
    """P1, P5: each event takes effect once, whoever was faster."""
    facts: list[Fact] = [(id_for("any", "a"), Bought(product="pen", count=1, price=Decimal(1)))] * 60

    async def run() -> Rows:
        first, second = (Life(url, facts) for _ in range(2))
        async with first.open() as views, second.open():
            await first.engine.start()
            await second.engine.start()
            try:
                await asyncio.gather(first.append(0, 30), second.append(30, 60))
                await first.engine.caught_up(10)
                await second.engine.caught_up(10)
                return await found(views)
            finally:
                await first.engine.stop()
                await second.engine.stop()

    assert asyncio.run(run()) == expected(facts)
