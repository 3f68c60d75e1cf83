"""Events that a projection leaves out for ever, because somebody said so.

Rule: the requests are the record of it. What one generation left out, every later one leaves out too.
"""

from typing import Final

from diptych.store.protocols import ViewStore

_MANY: Final = 10_000


def says_left_out(position: int) -> str:
    """Return the words with which a request to leave an event out is answered when it is done."""
    return f"Position {position} is left out for ever."


async def left_out(views: ViewStore, projection: str) -> frozenset[int]:
    """Return the positions that a projection leaves out. :raises StoreError:"""
    asked = await views.leases.requests(projection, verb="skip", limit=_MANY)
    return frozenset(one.position for one in asked if one.outcome.startswith(says_left_out(one.position)))
