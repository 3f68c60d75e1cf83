"""Lanes that nobody reads yet, carried by a worker of their own: what it waits for, goes past, and leaves on disk."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from diptych.errors import ProjectionError, RebuildRefusedError, StoreCorruptedError, StoreError, StoreUnavailableError
from diptych.projections import backfill
from diptych.projections.backfill import Backfill, Subject
from diptych.projections.leaving_out import says_left_out
from diptych.projections.projection import Projection
from diptych.read.models import table_of
from diptych.store.batches import Load, ViewBatch
from diptych.store.generations import Generation
from diptych.store.leases import Worker
from diptych.subscriptions.failures import ENDED
from diptych.subscriptions.lanes import LANES, lane_of
from diptych.subscriptions.place import has_ended, this_place
from tests.projections import shop
from tests.projections.rebuilds import PACE, subject_of
from tests.projections.running import Running, running
from tests.waiting import until

pytestmark = pytest.mark.anyio

ONE, TWO = shop.order("1"), shop.order("2")


@pytest.fixture
async def shop_() -> AsyncIterator[Running]:
    """A log of five events, of which the third is poison; nobody works on its rows."""
    async with running("memory:", shop.Baskets, shop.SalesBySql, is_started=False) as made:
        facts = [(ONE, shop.placed()), (TWO, shop.placed()), (ONE, shop.added("poison")), (TWO, shop.added())]
        await made.append([*facts, (ONE, shop.added())])
        yield made


async def begun(shop_: Running, given: type[Projection[Any]] = shop.Baskets) -> tuple[Subject, Generation]:
    """What a build works with."""
    subject = subject_of(shop_, given, pace=PACE._replace(lease=0.05, first_pause=0.001, longest_pause=0.001))
    return subject, await shop_.views.generations.begin(subject.definition.tables)


async def places(subject: Subject, new: Generation) -> set[int]:
    """Where its lanes are on disk."""
    return {at.position for at in await subject.views.places(subject.name, new.number)}


async def leave_out(subject: Subject, position: int) -> None:
    """Have an event left out for ever, on somebody's word."""
    for request in await subject.views.leases.ask(subject.name, "skip", position=position, reason="it is wrong"):
        await subject.views.leases.settle(request.id, says_left_out(position))


async def test_what_is_built_is_on_disk_as_far_as_it_was_told(shop_: Running) -> None:
    """P2: also where nothing of interest came last."""
    subject, new = await begun(shop_)
    await shop_.append([(ONE, shop.Noise())] * 3)
    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        for upto in (2, 7):
            await builder.build(upto)
            assert await places(subject, new) == {upto}
        assert builder.parked == 1
    assert (await subject.views.leases.board()).workers == []


async def test_a_builder_lives_for_as_long_as_it_builds_and_leaves_nothing_behind(shop_: Running) -> None:
    """Its worker is known as one of this process: else another would take its lanes at once."""
    subject, new = await begun(shop_)
    before = set(threading.enumerate())

    def building() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "build baskets"]

    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        await builder.build(5)
        (worker,) = (await subject.views.leases.board()).workers
        assert not has_ended(worker)
        assert len(building()) == 1
    assert has_ended(worker)
    assert building() == []
    await until(lambda: not [one for one in set(threading.enumerate()) - before if one.name == "diptych-baskets"])


async def test_lanes_are_brought_each_to_its_own_place_and_let_go_of(shop_: Running) -> None:
    subject, new = await begun(shop_)
    wanted = {lane: 2 if lane % 2 else 4 for lane in range(new.lanes)}
    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        await builder.align(wanted)
        found = await subject.views.places(subject.name, new.number)
        assert {lane: at.position for lane, at in enumerate(found)} == wanted
        board = await subject.views.leases.board()
        assert {row.owner for row in board.lanes if row.generation == new.number} == {""}


async def test_a_store_that_is_away_is_waited_for(shop_: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """X2: and what had been written all the same is not written twice."""
    subject, new = await begun(shop_)
    commit, errors, table = shop_.views.commit, list[StoreError](), table_of(shop.Basket)
    errors.append(StoreUnavailableError("away"))

    async def failing(batch: ViewBatch) -> None:
        await commit(batch)
        if errors:
            raise errors.pop()

    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        monkeypatch.setattr(shop_.views, "commit", failing)
        await builder.build(5)
        assert not errors
        assert await places(subject, new) == {5}
        (row,) = (await shop_.views.load(new.number, [Load(table, ("id",), [(TWO.id,)])]))[table.name]
        assert row.items == 1
        errors.append(StoreCorruptedError("a page is damaged"))
        await shop_.append([(TWO, shop.added())])
        with pytest.raises(StoreCorruptedError):
            await builder.build(6)


async def test_what_was_left_out_once_is_left_out_again_if_it_still_fails(shop_: Running) -> None:
    subject, new = await begun(shop_)
    await leave_out(subject, 3)
    await leave_out(subject, 4)
    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        await builder.build(5)
        assert builder.parked == 0  # neither is tried
        await builder.mend()
    assert await subject.views.parked(subject.name, new.number) == []


async def test_what_is_left_out_while_it_is_parked_is_skipped_and_what_waits_behind_it_is_applied(
    shop_: Running,
) -> None:
    subject, new = await begun(shop_)
    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        await builder.build(5)
        await builder.mend()
        assert builder.parked == 1
        await leave_out(subject, 5)  # what waits does not fail itself
        await builder.mend()
        assert builder.parked == 1
        await leave_out(subject, 3)
        await builder.mend()
        assert builder.parked == 0
    assert await subject.views.parked(subject.name, new.number) == []


@pytest.mark.parametrize("is_left_out", [True, False])
async def test_an_event_that_stops_a_build_is_passed_only_if_it_was_left_out_before(
    shop_: Running, is_left_out: bool
) -> None:
    """Also when that was said while it was being built."""
    subject, new = await begun(shop_, shop.SalesBySql)
    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        if is_left_out:
            await leave_out(subject, 3)
            await builder.build(5)
        else:
            with pytest.raises(ProjectionError, match="position 3"):
                await builder.build(5)
    assert await places(subject, new) == {5 if is_left_out else 2}


async def test_who_has_the_lanes_and_lives_is_named_and_who_is_gone_is_not_waited_for(
    shop_: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "_ENDING", 0.0)
    subject, new = await begun(shop_)
    leases = subject.views.leases
    await leases.beat(Worker("other", "elsewhere 1", frozenset({new.number})), 60.0)
    await leases.claim("other", subject.name, new.number, [0])
    async with Backfill(subject, new.number) as builder:
        await builder.take([1, 2])
        with pytest.raises(RebuildRefusedError, match=f"generation {new.number} is being built already, by process 1"):
            await builder.take([0, 3])
        await leases.beat(Worker("other", this_place(), frozenset({new.number})), 60.0)
        ghost = Worker("ghost", this_place(), frozenset({new.number}))
        assert has_ended(ghost)
        await leases.leave("other")
        await leases.beat(ghost, 60.0)
        await leases.claim("ghost", subject.name, new.number, [0])
        await builder.take([0])
        board = await leases.board()
        builder._look_for_others(board, {9}, is_late=True)  # nobody has that one, and lanes of others do not matter
        assert "ghost" not in {one.id for one in (await leases.board()).workers}


async def test_what_ended_another_builder_is_told_by_whoever_takes_its_lane(shop_: Running) -> None:
    """P7: it is not tried again unasked."""
    subject, new = await begun(shop_)
    leases, lane = subject.views.leases, lane_of(str(ONE.id), LANES)
    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        await builder.build(5)
    await leases.beat(Worker("dead", "elsewhere 1", frozenset({new.number})), 60.0)
    await leases.claim("dead", subject.name, new.number, [lane])
    await leases.mark("dead", subject.name, new.number, lane, attempt=3)
    await leases.beat(Worker("next", "elsewhere 1", frozenset()), 60.0, dead=["dead"])
    shop.Baskets.is_mended = True
    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        await builder.mend()
    first, *_ = await subject.views.parked(subject.name, new.number)
    assert (first.position, first.error) == (3, f"position 3: {ENDED}")


async def test_a_generation_that_was_dropped_is_not_waited_for(shop_: Running) -> None:
    subject, new = await begun(shop_)
    await subject.views.generations.drop(subject.name, new.number)
    async with Backfill(subject, new.number) as builder:
        with pytest.raises(RebuildRefusedError, match=f"generation {new.number} is gone: it was dropped"):
            await builder.take([0])


async def test_a_builder_that_cannot_begin_is_no_worker_of_this_process(
    shop_: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be taken for one that lives, for as long as the process does."""
    subject, new = await begun(shop_)

    async def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailableError("away")

    builder = Backfill(subject, new.number)
    monkeypatch.setattr(subject.views.leases, "beat", away)
    with pytest.raises(StoreUnavailableError):
        await builder.__aenter__()
    assert has_ended(Worker(builder._id, this_place(), frozenset()))
