"""How many events a batch takes: more while there are many and they are quick."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from diptych.errors import StoreUnavailableError
from diptych.projections import carrying, stride
from diptych.projections.stride import Stride
from tests.projections import shop
from tests.projections.running import FAST, running

pytestmark = pytest.mark.anyio


class Clock:
    """Stands still until it is told otherwise."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stride, "time", made)
    return made


def take(taken: Stride, clock: Clock, events: int, seconds: float) -> int:
    with taken.taken(events):
        clock.now += seconds
    return taken.events


def test_quick_and_full_batches_make_it_longer_up_to_an_end(clock: Clock) -> None:
    steps = Stride(2000)
    assert [take(steps, clock, steps.events, 0.1) for _ in range(3)] == [4000, 5000, 5000]


def test_what_is_left_at_the_end_of_the_log_does_not(clock: Clock) -> None:
    assert take(Stride(2000), clock, 1999, 0.0) == 2000


def test_a_slow_batch_makes_it_shorter_down_to_what_it_was(clock: Clock) -> None:
    steps = Stride(2000)
    take(steps, clock, 2000, 0.1)
    assert [take(steps, clock, steps.events, seconds) for seconds in (1.0, 3.0, 3.0)] == [4000, 2000, 2000]


def test_after_a_failure_it_begins_again(clock: Clock) -> None:
    steps = Stride(2000)
    take(steps, clock, 2000, 0.1)
    with pytest.raises(StoreUnavailableError), steps.taken(4000):
        raise StoreUnavailableError("it is away")
    assert steps.events == 2000


def test_who_wants_more_than_the_most_keeps_it(clock: Clock) -> None:
    assert take(Stride(9000), clock, 9000, 0.1) == 9000


async def test_a_projection_far_behind_takes_longer_and_longer_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that several events of a batch change are read and written once."""
    taken: list[int] = []

    class Noting(Stride):
        @contextmanager
        def taken(self, events: int) -> Iterator[None]:
            taken.append(events)
            with super().taken(events):
                yield

    monkeypatch.setattr(carrying, "Stride", Noting)
    rules = FAST._replace(pace=FAST.pace._replace(page_events=10))
    async with running("memory:", shop.Baskets, is_started=False, rules=rules) as shop_:
        await shop_.append([(shop.order(str(n)), shop.placed()) for n in range(70)])
        await shop_.engine.start()
        await shop_.engine.caught_up()
        assert len(await shop_.rows(shop.Basket)) == 70
    assert taken == [10, 10, 20, 20, 10]  # each page is read ahead while the one before it is applied
