"""Recent aggregates are kept, each for one command at a time, and no more of them than was said."""

import pytest

from diptych.clock import new_id
from diptych.stream import StreamName
from diptych.write.aggregate import Aggregate
from diptych.write.cache import AggregateCache, Cached, Key


class Basket(Aggregate):
    pass


class Purse(Aggregate):
    pass


def cached(version: int = 1) -> tuple[Key, Cached]:
    """An aggregate with so many events."""
    stream = StreamName("", "Basket", new_id())
    basket = Basket(stream.id)
    basket.__dict__["version"] = version
    return ("", "Basket", stream.id.int), Cached(basket, stream, version, b"e")


def test_what_was_taken_out_is_gone_until_it_is_put_back() -> None:
    """Two commands never change one object."""
    cache, (key, one) = AggregateCache(), cached()
    assert cache.take(key, Basket) is None
    cache.put(key, one)
    assert cache.take(key, Basket) is one
    assert cache.take(key, Basket) is None
    cache.put(key, one)
    assert cache.take(key, Basket) is one


def test_another_class_does_not_get_it() -> None:
    """Two aggregates may share a stream; what one knows is not the state of the other."""
    cache, (key, one) = AggregateCache(), cached()
    cache.put(key, one)
    assert cache.take(key, Purse) is None


def test_what_has_no_events_is_not_kept() -> None:
    cache, (key, one) = AggregateCache(), cached(0)
    cache.put(key, one)
    assert cache.take(key, Basket) is None


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_those_that_were_used_last_are_kept(size: int) -> None:
    cache, all = AggregateCache(size), [cached() for _ in range(3)]
    for key, one in all:
        cache.put(key, one)
    first = all[0]
    if cache.take(first[0], Basket) is not None:
        cache.put(*first)
    cache.put(*cached())
    kept = [cache.take(key, Basket) is not None for key, _ in all]
    assert kept == {0: [False] * 3, 1: [False] * 3, 2: [False, False, True], 3: [True, False, True]}[size]
