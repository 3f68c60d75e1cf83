"""P7: what becomes of parked keys and of events that are left out, as it is asked of whoever has the lane."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from diptych.errors import StoreUnavailableError, UnknownOutcomeError
from diptych.projections.carrying import Carrier
from diptych.projections.leaving_out import says_left_out
from diptych.projections.mending import Done, Mender
from diptych.projections.runner import Listener, Runner
from diptych.read.models import table_of
from diptych.store.batches import Load
from diptych.store.leases import Request, Verb
from diptych.subscriptions.failures import ENDED, EventFailure
from diptych.subscriptions.lanes import LANES, lane_of
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.spreading import Share
from diptych.subscriptions.thread import HangsError
from tests.projections import shop
from tests.projections.running import Running, running
from tests.projections.test_carrying import carrying
from tests.waiting import until

pytestmark = pytest.mark.anyio

ONE, TWO = shop.order("1"), shop.order("2")
KEY, LANE = str(ONE.id), lane_of(str(ONE.id), LANES)
ALL = frozenset(range(LANES))
BASKET = table_of(shop.Basket)


@pytest.fixture
async def shop_() -> AsyncIterator[Running]:
    """A log of five events: of the first basket the third cannot be taken, and the fifth comes behind it."""
    async with running("memory:", shop.Baskets, is_started=False) as made:
        facts = [(ONE, shop.placed()), (TWO, shop.placed()), (ONE, shop.added("poison")), (TWO, shop.added())]
        await made.append([*facts, (ONE, shop.added("pen", 2))])
        yield made


@pytest.fixture
async def carrier(shop_: Running) -> AsyncIterator[Carrier]:
    """Who has all lanes, and has carried them to the end of the log."""
    async with carrying(shop_) as found:
        yield found


async def done(carrier: Carrier, verb: Verb, *, halted: int = 0, mender: Mender | None = None, **what: Any) -> Done:
    """Do what is asked of the lane of the first basket."""
    asked = {"key": "", "position": 0, **what}
    request = Request(0, "baskets", carrier.work.generation, LANE, verb, asked["key"], asked["position"], "", "", 0, "")
    return await (mender or Mender(carrier)).execute(request, halted)


async def parked(carrier: Carrier) -> list[tuple[int, bool]]:
    """The positions that are put aside on disk, and whether they say why; in memory it is the same keys."""
    found = await carrier.work.views.parked("baskets", carrier.work.generation)
    assert {each.key for each in found} == carrier.parked.since.keys()
    return [(each.position, bool(each.error)) for each in found]


async def test_what_still_fails_stays_parked_and_what_is_mended_is_applied(carrier: Carrier) -> None:
    assert await parked(carrier) == [(3, True), (5, False)]
    for key in ("", KEY):
        outcome = (await done(carrier, "retry", key=key)).outcome
        assert outcome.startswith(f"{KEY} stays parked: baskets failed on position 3 (Added)")
        assert await parked(carrier) == [(3, True), (5, False)]
    shop.Baskets.is_mended = True
    assert await done(carrier, "retry", key=KEY) == Done(f"{KEY}: 2 events are applied.")
    assert await parked(carrier) == []
    assert carrier.lanes[LANE].at.position == 5
    assert await done(carrier, "retry") == Done("Nothing is parked here.")
    assert await done(carrier, "retry", key=KEY) == Done(f"{KEY} is not parked.")


async def test_what_is_left_out_is_left_out_alone(carrier: Carrier) -> None:
    answered = await done(carrier, "skip", position=3)
    assert answered == Done(f"Position 3 is left out for ever. {KEY}: 1 event is applied.")
    assert answered.and_goes_on == f"{answered.outcome} It goes on."
    assert await parked(carrier) == []


async def leave_out(carrier: Carrier, position: int) -> None:
    """Have an event left out for ever in another generation, the one that is read."""
    leases = carrier.work.views.leases
    for request in await leases.ask("baskets", "skip", position=position):
        await leases.settle(request.id, says_left_out(position))


async def test_what_was_left_out_in_another_generation_waits_no_longer_when_it_is_tried_again(carrier: Carrier) -> None:
    """P3: as after a roll-back to a generation that had the event parked."""
    await leave_out(carrier, 3)
    assert await done(carrier, "retry", key=KEY) == Done(f"{KEY}: 1 event is applied.")
    assert await parked(carrier) == []


async def test_what_was_left_out_while_it_waited_is_not_applied_with_the_others(carrier: Carrier) -> None:
    """P3"""
    await leave_out(carrier, 5)
    shop.Baskets.is_mended = True
    assert await done(carrier, "retry", key=KEY) == Done(f"{KEY}: 1 event is applied.")
    assert await parked(carrier) == []


async def test_a_key_that_is_parked_for_what_is_left_out_is_tried_unasked_even_if_that_ended_the_process(
    carrier: Carrier,
) -> None:
    mender = Mender(carrier)
    await carrier.look_at_parked()  # as after a claim
    carrier.lanes[LANE].attempt = 3
    await mender.look([LANE])
    await mender.try_unasked(ALL)
    assert await parked(carrier) == [(3, True), (5, False)]
    await leave_out(carrier, 3)
    await mender.try_unasked(ALL)
    assert await parked(carrier) == []


async def test_what_is_left_out_is_left_out_of_a_key_that_is_folded_again(carrier: Carrier) -> None:
    """P3: whether it could be applied by now or not."""
    await leave_out(carrier, 3)
    for is_mended in (False, True):
        shop.Baskets.is_mended = is_mended
        assert await done(carrier, "rebuild", key=KEY) == Done(f"{KEY}: its rows are made of its 2 events again.")
        rows = await carrier.work.views.load(carrier.work.generation, [Load(BASKET, BASKET.key, [(ONE.id,)])])
        assert [row.items for row in rows["basket"]] == [2]


async def test_what_is_left_out_already_is_said_to_be(carrier: Carrier) -> None:
    """P3: the record of it is not written over by one who is asked again, as his answer had not come through."""
    await done(carrier, "skip", position=3)
    await leave_out(carrier, 3)
    for halted in (0, 3):
        said = Done("Position 3 is left out for ever.", has_effect=halted == 3)
        assert await done(carrier, "skip", position=3, halted=halted) == said


async def test_a_try_that_the_store_cut_short_is_not_taken_for_the_end_of_the_process(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P7, X2: the lane is claimed again by the same process."""
    mender = Mender(carrier)
    shop.Baskets.is_mended = True
    for error in (StoreUnavailableError("away"), UnknownOutcomeError("no answer")):
        with monkeypatch.context() as patched:
            patched.setattr(carrier.work.views, "commit", _failing(error))
            with pytest.raises(type(error)):
                await done(carrier, "retry", key=KEY, mender=mender)
        await carrier.take(await carrier.work.tenure.claim([LANE]))
        await mender.look([LANE])
        assert [error for error in carrier.parked.errors.values() if ENDED in error] == []
    assert await done(carrier, "retry", key=KEY, mender=mender) == Done(f"{KEY}: 2 events are applied.")


def _failing(error: Exception) -> Callable[..., Awaitable[None]]:
    async def fail(*_: Any) -> None:
        raise error

    return fail


async def test_only_what_is_parked_or_stopped_the_projection_is_left_out(carrier: Carrier) -> None:
    for position, halted, why in (
        (2, 0, f"Position 2 is not in lane {LANE}."),
        (9, 0, f"Position 9 is not in lane {LANE}."),
        (1, 0, "Position 1 is neither parked nor did it stop the projection (nothing did). It is not left out."),
        (1, 4, "Position 1 is neither parked nor did it stop the projection (position 4 did). It is not left out."),
        (1, 1, "Position 1 is neither parked nor did it stop the projection (position 1 did). It is not left out."),
    ):
        answered = await done(carrier, "skip", position=position, halted=halted)
        assert (answered.outcome, answered.has_effect, answered.and_goes_on) == (why, False, why)
    assert await parked(carrier) == [(3, True), (5, False)]


async def test_an_event_that_stopped_the_projection_is_passed_by(shop_: Running, carrier: Carrier) -> None:
    await shop_.append([(ONE, shop.Noise())])
    answered = await done(carrier, "skip", position=6, halted=6)
    assert answered == Done("Position 6 is left out for ever. It goes on.")
    assert answered.and_goes_on == answered.outcome
    assert carrier.lanes[LANE].at.position == carrier.lanes[LANE].saved.position == 6
    places = await carrier.work.views.places("baskets", carrier.work.generation)
    assert places[LANE].position == 6


async def test_a_key_is_folded_again_whether_or_not_it_is_parked(carrier: Carrier) -> None:
    answered = await done(carrier, "rebuild", key=KEY)
    assert answered.outcome.startswith(f"{KEY} stays as it is: baskets failed on position 3 (Added)")
    assert not answered.has_effect
    (held,) = await carrier.work.tenure.claim([LANE])
    assert held.attempt == 0  # nothing is tried any more, so that an end of the process would not be of it
    await carrier.take([held])
    shop.Baskets.is_mended = True
    assert await done(carrier, "rebuild", key=KEY) == Done(f"{KEY}: its rows are made of its 3 events again.")
    assert await parked(carrier) == []
    assert await done(carrier, "rebuild", key=KEY) == Done(f"{KEY}: its rows are made of its 3 events again.")


async def test_what_ended_the_process_is_told_before_it_is_tried_again(carrier: Carrier) -> None:
    """Once: who asks again wants it tried."""
    mender = Mender(carrier)
    await carrier.look_at_parked()  # as after a claim
    carrier.lanes[LANE].attempt = 3
    await mender.look([LANE])
    (first, *_) = await carrier.work.views.parked("baskets", carrier.work.generation)
    assert (first.position, first.error) == (3, f"position 3: {ENDED}")
    shop.Baskets.is_mended = True
    await mender.try_unasked([LANE])
    assert await parked(carrier) == [(3, True), (5, False)]
    for verb, told in (("rebuild", f"{KEY} stays as it is: {ENDED}."), ("retry", f"{KEY}: 2 events are applied.")):
        assert (await done(carrier, verb, key=KEY, mender=mender)).outcome.startswith(told)  # type: ignore[arg-type]
    assert await parked(carrier) == []


async def test_a_rebuild_that_ended_the_process_is_told_before_it_is_tried_again(carrier: Carrier) -> None:
    mender = Mender(carrier)
    carrier.lanes[LANE].attempt = 1  # the first event of a key that is not parked
    shop.Baskets.is_mended = True
    await done(carrier, "retry", key=KEY)
    await mender.look([LANE])
    for told in (f"{KEY} stays as it is: {ENDED}.", f"{KEY}: its rows are made of its 3 events again."):
        assert (await done(carrier, "rebuild", key=KEY, mender=mender)).outcome.startswith(told)


async def test_what_does_no_harm_is_tried_unasked_in_the_lanes_that_were_claimed(carrier: Carrier) -> None:
    shop.Baskets.is_mended = True
    mender = Mender(carrier)
    await mender.try_unasked(ALL - {LANE})
    assert await parked(carrier) == [(3, True), (5, False)]
    await mender.try_unasked(ALL)
    assert await parked(carrier) == []


async def test_a_key_of_a_projection_that_is_not_isolated_is_not_folded_alone(carrier: Carrier) -> None:
    carrier.work = carrier.work._replace(definition=carrier.work.definition._replace(is_isolated=False))
    answered = await done(carrier, "rebuild", key=KEY)
    assert answered == Done(f"{KEY} stays as it is: its rows are made of other streams, too.", has_effect=False)


async def test_what_hangs_while_it_is_tried_again_is_blamed_on_its_first_event(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: Any) -> Any:
        raise HangsError(7.0)

    events = (await carrier.work.reader.of(ONE.id, 5))[1:]
    monkeypatch.setattr(carrier.folding._thread, "run", hangs)
    for folding in (carrier.folding.parked(events), carrier.folding.key(KEY, events)):
        with pytest.raises(EventFailure) as caught:
            await folding
        assert (caught.value.position, "7 s" in str(caught.value.cause)) == (3, True)


async def test_a_runner_that_is_told_to_end_ends_and_has_no_lane_any_more(carrier: Carrier) -> None:
    heard: list[str] = []
    listener = Listener(lambda: heard.append("lanes"), lambda: heard.append("look"), lambda _: heard.append("hung"))
    runner = Runner(carrier.work, Progress("baskets"), listener)
    runner.has_share(Share(ALL, free=ALL))
    ended: list[bool] = []

    async def run() -> None:
        await runner.run()
        ended.append(True)

    task = asyncio.create_task(run())
    await until(lambda: runner.is_caught_up)
    assert runner.carrier.lanes.keys() == ALL
    runner.end()
    await until(lambda: bool(ended))
    await task
    board = await carrier.work.views.leases.board()
    assert {row.owner for row in board.lanes if row.generation == carrier.work.generation} == {""}
    assert runner._wake not in carrier.work.reader._listeners


async def test_what_is_asked_of_a_lane_that_is_not_here_yet_waits_for_it(carrier: Carrier) -> None:
    """It is answered once the lane is claimed, by whoever has it then."""
    work, leases = carrier.work, carrier.work.views.leases
    await work.views.generations.index("baskets", work.generation)
    await carrier.work.views.generations.swap("baskets", work.generation)
    runner = Runner(work, Progress("baskets"), Listener(lambda: None, lambda: None, lambda _: None))
    runner.has_share(Share(ALL))  # another has them still
    (request,) = await leases.ask_lane("baskets", "retry", LANE, key=KEY)
    runner.is_asked([request])
    task = asyncio.create_task(runner.run())
    await until(lambda: not runner._wake.is_set())
    for _ in range(5):
        await asyncio.sleep(0)
    assert [one.outcome for one in await leases.requests("baskets")] == [""]
    assert runner.carrier.progress.error is None
    shop.Baskets.is_mended = True
    runner.has_share(Share(ALL, free=ALL))
    async with asyncio.timeout(10):
        while not (await leases.requests("baskets"))[0].outcome:  # noqa: ASYNC110 - what is waited for is in a store
            await asyncio.sleep(0.001)
    assert KEY in (await leases.requests("baskets"))[0].outcome
    runner.end()
    await task


async def test_what_another_parked_meanwhile_is_tried_when_its_lane_comes_back(carrier: Carrier) -> None:
    """P7: as in a rolling deploy, where older code has the lane for a while and parks what this code can take."""
    runner = Runner(carrier.work, Progress("baskets"), Listener(lambda: None, lambda: None, lambda _: None))
    runner.has_share(Share(ALL, free=ALL))
    task = asyncio.create_task(runner.run())
    await until(lambda: runner.is_caught_up)
    assert runner.carrier.parked.since.keys() == {KEY}
    runner.has_share(Share(ALL - {LANE}))
    await until(lambda: LANE not in runner.carrier.lanes)
    shop.Baskets.is_mended = True
    runner.has_share(Share(ALL, free=frozenset([LANE])))
    await until(lambda: LANE in runner.carrier.lanes and not runner.carrier.parked.since)
    runner.end()
    await task
    assert await carrier.work.views.parked("baskets", carrier.work.generation) == []
