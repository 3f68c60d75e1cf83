"""A bounded memory of recent aggregates: checked out, never shared, put back after a confirmed commit."""

from collections import OrderedDict
from typing import NamedTuple, TypeAlias

from diptych.stream import StreamName
from diptych.write.aggregate import Aggregate

Key: TypeAlias = tuple[str, str, int]
"""A stream's tenant, category and id as a number: the hash of a UUID is computed in Python, that of a number is not."""


class Cached(NamedTuple):
    """An aggregate, its stream, and the newest event that it knows."""

    aggregate: Aggregate
    stream: StreamName
    position: int
    event_id: bytes


class AggregateCache:
    """Keeps up to `size` aggregates, the most recently used. What was taken out is gone until it is put back."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._kept: OrderedDict[Key, Cached] = OrderedDict()

    def take(self, key: Key, cls: type[Aggregate]) -> Cached | None:
        """Check an aggregate out: nobody else gets it meanwhile."""
        cached = self._kept.pop(key, None)
        return cached if cached is not None and type(cached.aggregate) is cls else None

    def put(self, key: Key, cached: Cached) -> None:
        """Keep an aggregate whose every event is stored."""
        if cached.aggregate.version and self._size:
            self._kept[key] = cached
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
