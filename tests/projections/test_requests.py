"""What operators ask of a projection is done by whoever has the lane, under its epoch, and answered in a sentence."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from diptych.errors import StaleReadError, StoreUnavailableError
from diptych.store.batches import ViewBatch
from diptych.store.leases import Request, Verb, Worker
from diptych.store.protocols import ViewStore
from diptych.subscriptions.lanes import lane_of
from tests.projections import harmful, shop
from tests.projections.harmful import Harmful, HarmfulSales, board_where, owners, until
from tests.projections.running import Given, Running, running
from tests.projections.shop import Basket, HandWritten
from tests.projections.test_liveness import Around
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.fixture(autouse=True)
def mended() -> Iterator[None]:
    yield
    Harmful.is_mended = False


KEYS = [str(shop.order(name).id) for name in "01"]


async def poisoned(shop_: Running) -> None:
    """Two orders that fail on their second line, at 4 and 6, and a third line of each that waits behind it."""
    for name in "01":
        await shop_.append([(shop.order(name), shop.placed()), (shop.order(name), shop.added())])
    for name in "01":
        await shop_.append([(shop.order(name), shop.added("fail", 100)), (shop.order(name), shop.added("pen", 5))])
    await shop_.engine.caught_up()


async def answers(shop_: Running) -> list[Request]:
    """What was answered, oldest first, once everything is."""
    await board_where(shop_.views, lambda board: not board.requests)
    return list(reversed(await shop_.views.leases.requests()))


async def items(shop_: Running) -> list[int]:
    rows = await shop_.rows(Basket)
    return [rows[shop.order(name).id].items for name in "01"]


async def test_one_key_is_tried_again(url: str) -> None:
    async with running(url, Harmful) as shop_:
        await poisoned(shop_)
        Harmful.is_mended = True
        await shop_.views.leases.ask("harmful", "retry", key=KEYS[0])
        (done,) = await answers(shop_)
        assert done.outcome == f"{KEYS[0]}: 2 events are applied."
        assert await items(shop_) == [106, 1]
        assert {event.key for event in await shop_.views.parked("harmful")} == {KEYS[1]}


async def test_all_keys_are_tried_again_each_by_whoever_has_its_lane(url: str) -> None:
    async with running(url, Harmful) as shop_, running(url, Harmful):
        await board_where(shop_.views, lambda board: len(set(owners(board, "harmful")) - {""}) == 2)
        await poisoned(shop_)
        Harmful.is_mended = True
        assert len(await shop_.views.leases.ask("harmful", "retry")) == 16
        done = await answers(shop_)
        assert sorted(each.outcome for each in done if each.outcome != "Nothing is parked here.") == [
            f"{key}: 2 events are applied." for key in sorted(KEYS)
        ]
        assert await items(shop_) == [106, 106]
        assert await shop_.views.parked("harmful") == []


async def test_a_key_that_fails_again_stays_parked_with_its_events(url: str) -> None:
    async with running(url, Harmful) as shop_:
        await poisoned(shop_)
        before = await shop_.views.parked("harmful")
        await shop_.views.leases.ask("harmful", "retry", key=KEYS[0])
        (done,) = await answers(shop_)
        assert done.outcome.startswith(f"{KEYS[0]} stays parked: harmful failed on position 5 (Added)")
        assert [event[:2] for event in await shop_.views.parked("harmful")] == [event[:2] for event in before]
        last = await shop_.append([(shop.order("0"), shop.added()), (shop.order("1"), shop.added())])
        assert await shop_.engine.progress["harmful"].wait_for(last.position, 5.0)
        assert len(await shop_.views.parked("harmful")) == len(before) + 2


async def test_a_parked_event_is_left_out_and_what_waits_behind_it_applied(url: str) -> None:
    async with running(url, Harmful) as shop_:
        await poisoned(shop_)
        await shop_.views.leases.ask("harmful", "skip", key=KEYS[0], position=5, reason="never happened")
        (done,) = await answers(shop_)
        assert done.outcome == f"Position 5 is left out for ever. {KEYS[0]}: 1 event is applied."
        assert done.reason == "never happened"
        assert await items(shop_) == [6, 1]


async def test_what_waits_behind_an_event_left_out_may_fail_and_stays_parked(url: str) -> None:
    async with running(url, Harmful) as shop_:
        await poisoned(shop_)
        await shop_.append([(shop.order("0"), shop.added("fail"))])
        await shop_.engine.caught_up()
        await shop_.views.leases.ask("harmful", "skip", key=KEYS[0], position=5, reason="never happened")
        (done,) = await answers(shop_)
        assert "Position 5 is left out for ever." in done.outcome
        assert "stays parked: harmful failed on position 9" in done.outcome
        assert await items(shop_) == [1, 1]
        assert [event.position for event in await shop_.views.parked("harmful") if event.key == KEYS[0]] == [6, 9]


async def stopped(shop_: Running) -> None:
    """A projection that is not isolated stops on position 3 of 5."""
    one = shop.order("1")
    await shop_.append([(one, shop.added()), (one, shop.placed()), (one, shop.added("fail")), (one, shop.added())])
    await shop_.append([(one, shop.added())])
    with pytest.raises(StaleReadError):
        await shop_.engine.caught_up()


async def test_the_event_that_stopped_a_projection_is_left_out_and_it_goes_on(url: str) -> None:
    async with running(url, HarmfulSales) as shop_:
        await stopped(shop_)
        board = await board_where(shop_.views, lambda board: board.lanes[0].trouble != "")
        assert "position 3 (Added): HarmfulSales.sold: RuntimeError: enough" in board.lanes[0].trouble
        await shop_.views.leases.ask("harmful_sales", "skip", position=3, reason="it was a joke")
        (done,) = await answers(shop_)
        assert done.outcome == "Position 3 is left out for ever. It goes on."
        await until(lambda: shop_.engine.progress["harmful_sales"].state == "running")
        await shop_.engine.caught_up()
        assert (await shop_.rows(HandWritten))["pen"].lines == 3
        assert (await shop_.views.leases.board()).lanes[0].trouble == ""


async def test_an_event_that_stopped_nothing_is_not_left_out(url: str) -> None:
    async with running(url, HarmfulSales) as shop_:
        await stopped(shop_)
        await shop_.views.leases.ask("harmful_sales", "skip", position=4, reason="by mistake")
        (done,) = await answers(shop_)
        assert done.outcome == (
            "Position 4 is neither parked nor did it stop the projection (position 3 did). It is not left out."
        )
        assert shop_.engine.progress["harmful_sales"].state == "stopped"


async def test_a_stopped_projection_tries_again_when_asked(url: str) -> None:
    async with running(url, HarmfulSales) as shop_:
        await stopped(shop_)
        await shop_.views.leases.ask("harmful_sales", "retry")
        (done,) = await answers(shop_)
        assert done.outcome == "Nothing is parked here. It goes on."
        await until(lambda: shop_.engine.progress["harmful_sales"].state == "stopped")
        assert shop_.engine.progress["harmful_sales"].saved == 2


async def test_what_ended_two_processes_and_stopped_it_is_tried_again_when_asked(url: str) -> None:
    """Whoever had the lane died on position 2, twice; asked again, what was noted of that counts no more."""
    one, ghost = shop.order("1"), "a worker that is dead"
    async with running(url, HarmfulSales, is_started=False) as shop_:
        leases = shop_.views.leases
        await shop_.append([(one, shop.added()), (one, shop.added()), (one, shop.added())])
        (generation,) = await shop_.views.generations.all("harmful_sales")
        await leases.beat(Worker(ghost, "", frozenset([generation.number])), 60.0)
        await leases.claim(ghost, "harmful_sales", generation.number, [0])
        await leases.mark(ghost, "harmful_sales", generation.number, 0, attempt=-2)
        await leases.beat(Worker("another", "", frozenset()), 60.0, dead=[ghost])
        await shop_.engine.start()
        with pytest.raises(StaleReadError):
            await shop_.engine.caught_up()
        assert "position 2 (Added): the process ended" in str(shop_.engine.progress["harmful_sales"].error)
        await leases.ask("harmful_sales", "retry")
        (done,) = await answers(shop_)
        assert done.outcome == "Nothing is parked here. It goes on."
        await until(lambda: shop_.engine.progress["harmful_sales"].state == "running")
        await shop_.engine.caught_up()
        assert (await shop_.rows(HandWritten))["pen"].lines == 3


async def test_what_is_asked_of_a_key_that_is_not_parked_is_answered() -> None:
    async with running("memory:", Harmful) as shop_:
        await shop_.views.leases.ask_lane("harmful", "retry", lane_of(KEYS[0], 16), key=KEYS[0])
        (done,) = await answers(shop_)
        assert done.outcome == f"{KEYS[0]} is not parked."


async def test_each_lane_that_does_not_have_an_event_says_so() -> None:
    async with running("memory:", Harmful) as shop_:
        await shop_.append([(shop.order("0"), shop.placed())])
        await shop_.views.leases.ask("harmful", "skip", position=99, reason="by mistake")
        done = await answers(shop_)
        assert [each.outcome for each in done] == [f"Position 99 is not in lane {lane}." for lane in range(16)]


async def test_what_has_no_effect_does_not_let_a_stopped_projection_go_on() -> None:
    async with running("memory:", HarmfulSales) as shop_:
        await stopped(shop_)
        await shop_.views.leases.ask_lane("harmful_sales", "rebuild", 0, key=KEYS[0])
        await shop_.views.leases.ask("harmful_sales", "skip", position=99, reason="by mistake")
        assert [done.outcome for done in await answers(shop_)] == [
            f"{KEYS[0]} stays as it is: its rows are made of other streams, too.",
            "Position 99 is not in lane 0.",
        ]
        assert "position 3" in (await shop_.views.leases.board()).lanes[0].trouble


async def ended(shop_: Running, at: int) -> None:
    """Whoever had the lane of the first order noted that it tries the event at a position, and died."""
    leases, ghost, (one,) = shop_.views.leases, "a worker that is dead", await shop_.views.generations.all("harmful")
    lane = lane_of(KEYS[0], one.lanes)
    await leases.beat(Worker(ghost, "", frozenset([one.number])), 60.0)
    assert len(await leases.claim(ghost, "harmful", one.number, [lane])) == 1
    await leases.mark(ghost, "harmful", one.number, lane, attempt=at)
    await leases.beat(Worker("another", "", frozenset()), 60.0, dead=[ghost])
    await leases.leave("another")


async def test_a_key_whose_last_try_ended_the_process_is_tried_when_it_is_asked_for_twice(tmp_path: Path) -> None:
    """P7: the one who asked has to know first; nobody tries it unasked."""
    url = f"sqlite:///{tmp_path}/shop.db"
    async with running(url, Harmful) as shop_:
        await poisoned(shop_)
    Harmful.is_mended = True
    async with running(url, Harmful, is_started=False) as shop_:
        await ended(shop_, 5)
        await shop_.engine.start()
        await until(lambda: shop_.engine.progress["harmful"].parked == 1)  # the other key is applied
        parked = await shop_.views.parked("harmful")
        assert [(one.position, one.error) for one in parked] == [
            (5, "position 5: the process ended while it was applied"),
            (6, ""),
        ]
        for outcome in (
            "stays parked: the process ended while it was applied. It is not tried again for this request.",
            ": 2 events are applied.",
        ):
            await shop_.views.leases.ask("harmful", "retry", key=KEYS[0])
            assert outcome in (await answers(shop_))[-1].outcome
        assert await items(shop_) == [106, 106]


async def test_a_key_whose_last_rebuild_ended_the_process_is_built_when_it_is_asked_for_twice(tmp_path: Path) -> None:
    """P7"""
    url, lane = f"sqlite:///{tmp_path}/shop.db", lane_of(KEYS[0], 16)
    async with running(url, Harmful) as shop_:
        await poisoned(shop_)
    Harmful.is_mended = True
    async with running(url, Harmful, is_started=False) as shop_:
        await ended(shop_, 1)
        await shop_.engine.start()
        for outcome in (
            "stays as it is: the process ended while it was applied. It is not tried again for this request.",
            ": its rows are made of its 4 events again.",
        ):
            await shop_.views.leases.ask_lane("harmful", "rebuild", lane, key=KEYS[0])
            assert outcome in (await answers(shop_))[-1].outcome
        assert await items(shop_) == [106, 106]


async def test_a_rebuild_that_is_not_tried_mends_nothing_of_what_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer does not say that it goes on."""
    url, lane = f"sqlite:///{tmp_path}/shop.db", lane_of(KEYS[0], 16)
    async with running(url, Harmful) as shop_:
        await shop_.append([(shop.order("0"), shop.placed())])
        await shop_.engine.caught_up()
    async with running(url, Harmful, is_started=False) as shop_:
        await ended(shop_, 1)
        monkeypatch.setattr("diptych.subscriptions.failures.MOST_PARKED", 0)
        await shop_.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added("fail"))])
        await shop_.engine.start()
        await until(lambda: shop_.engine.progress["harmful"].state == "stopped")
        await shop_.views.leases.ask_lane("harmful", "rebuild", lane, key=KEYS[0])
        (done,) = await answers(shop_)
        assert done.outcome.endswith("It is not tried again for this request.")
        assert all("position 3" in row.trouble for row in (await shop_.views.leases.board()).lanes)


async def test_a_paused_projection_stands_and_says_so_until_it_is_resumed(url: str) -> None:
    async with running(url, Harmful) as shop_:
        await poisoned(shop_)
        progress = shop_.engine.progress["harmful"]
        await shop_.views.leases.pause("harmful", None, reason="maintenance", by="ada")
        await until(lambda: progress.state == "paused")
        assert progress.error == "maintenance (ada)"
        await shop_.append([(shop.order("2"), shop.placed())])
        with pytest.raises(StaleReadError, match="harmful: still paused"):
            await shop_.engine.caught_up()
        Harmful.is_mended = True
        await shop_.views.leases.ask("harmful", "retry", key=KEYS[0])
        await shop_.engine.look()
        assert (await shop_.views.leases.requests())[0].outcome == ""  # what is asked waits too
        await shop_.views.leases.resume("harmful")
        await until(lambda: progress.state == "parked")
        await shop_.engine.caught_up()
        await answers(shop_)
        assert await items(shop_) == [106, 1]


class Mute(Around):
    """A view store through which no request is answered for itself, only with what is done for it."""

    @property
    def leases(self) -> Any:
        return Unanswered(self.inner.leases)


class Unanswered(Around):
    async def settle(self, request: int, outcome: str) -> None:
        raise StoreUnavailableError("its process ends here")


async def test_what_is_left_out_is_said_in_the_transaction_that_leaves_it_out(url: str) -> None:
    """P3: whoever ends right after it leaves the record behind by which a rebuild leaves it out, too."""
    async with running(url, HarmfulSales, wrap_views=Mute) as shop_:
        await stopped(shop_)
        await shop_.views.leases.ask("harmful_sales", "skip", position=3, reason="it was a joke")
        (done,) = await answers(shop_)
        assert done.outcome == "Position 3 is left out for ever. It goes on."
    async with running(url, Harmful, wrap_views=Mute) as shop_:
        one = (shop.order("0"), shop.added("fail", 100))
        last = await shop_.append([(shop.order("0"), shop.placed()), one, (shop.order("0"), shop.added())])
        await shop_.engine.caught_up()
        await shop_.views.leases.ask("harmful", "skip", key=KEYS[0], position=last.position - 1, reason="never so")
        (_, done) = await answers(shop_)
        assert done.outcome == f"Position {last.position - 1} is left out for ever. {KEYS[0]}: 1 event is applied."


class Forgetful(Around):
    """A view store that fails after what is asked of it, so many times: for itself, or when the answer is given."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.left = {"settle": 0, "mark": 0, "commit": 0}

    @property
    def leases(self) -> Any:
        return Forgotten(self.inner.leases, self.left)

    async def commit(self, batch: ViewBatch) -> None:
        await Forgotten(self.inner, self.left).commit(batch)


class Forgotten(Around):
    def __init__(self, inner: Any, left: dict[str, int]) -> None:
        super().__init__(inner)
        self.left = left

    def __getattr__(self, name: str) -> Any:
        if not self.left.get(name):
            return getattr(self.inner, name)

        async def fail(*given: Any, **more: Any) -> None:
            self.left[name] -= 1
            await getattr(self.inner, name)(*given, **more)
            raise StoreUnavailableError("it has gone away, and does not say what became of it")

        return fail


@pytest.mark.parametrize("verb", ["skip", "retry"])
@pytest.mark.parametrize("method", ["commit", "settle", "mark"])
async def test_what_was_done_and_could_not_be_said_lets_a_stopped_projection_go_on(
    method: str, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3, X2: and what is left out is written down as left out, whatever is tried once more."""
    kept: list[Forgetful] = []

    def wrap(views: ViewStore) -> ViewStore:
        kept.append(Forgetful(views))
        return kept[0]

    async with running("memory:", HarmfulSales, wrap_views=wrap) as shop_:
        await stopped(shop_)
        if verb == "retry":
            monkeypatch.setattr(harmful, "suffer", lambda _: None)
        kept[0].left[method] = 2
        await shop_.views.leases.ask("harmful_sales", verb, position=3, reason="it was a joke")
        await until(lambda: shop_.engine.progress["harmful_sales"].state == "running")
        await shop_.engine.caught_up()
        (done,) = await answers(shop_)
        assert verb == "retry" or done.outcome.startswith("Position 3 is left out for ever.")
        assert (await shop_.rows(HandWritten))["pen"].lines == 3


@pytest.mark.parametrize("verb", ["skip", "retry"])
async def test_what_one_process_is_asked_of_an_inline_projection_lets_all_of_them_go_on(
    url: str, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1: its one lane is everybody's, and so is what stopped it."""
    inline: Given = (HarmfulSales, "inline")
    async with running(url, inline, is_started=False) as one, running(url, inline, is_started=False) as two:
        facts = [(shop.order("1"), shop.placed()), (shop.order("1"), shop.added("fail"))]
        await shop.append(one.events, [*facts, (shop.order("1"), shop.added())])
        for each in (one, two):
            await each.engine.start()
            assert each.engine.progress["harmful_sales"].state == "stopped"
        if verb == "retry":
            monkeypatch.setattr(harmful, "suffer", lambda _: None)
        await one.events.inline.leases.ask("harmful_sales", verb, position=2, reason="it was a joke")
        for each in (one, two):
            await until(partial(_runs, each))
            await each.engine.caught_up()


def _runs(shop_: Running) -> bool:
    return shop_.engine.progress["harmful_sales"].state == "running"
