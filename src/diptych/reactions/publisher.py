"""Where messages go: a broker, behind four methods.

Rule: a publisher knows nothing of the log; whoever calls it knows how far it got.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from diptych.errors import PublishError
from diptych.reactions.messages import IntegrationMessage


class Publisher(Protocol):
    """Hands messages to a broker and waits until it has them (D1)."""

    async def open(self) -> None:
        """Get ready. A broker that is away is no error yet: `publish` will say so."""
        ...

    async def close(self) -> None:
        """Let go of every connection and task."""
        ...

    async def publish(self, messages: Sequence[IntegrationMessage]) -> None:
        """Return when the broker has confirmed all of them, those of one key in this order.

        When it raises, nothing may be assumed of any of them; all are sent again, under the same ids, before any later
        one. A message that was there already counts as confirmed. :raises PublishError: the broker is away, or said no.
        """
        ...


def chains_of(messages: Sequence[IntegrationMessage]) -> list[list[IntegrationMessage]]:
    """Return the messages of each key, in their order: of one key the next goes out when the one before was confirmed.

    Sent all at once, a later one could be kept and an earlier one lost when a broker fails in between (D1).
    """
    ordered = sorted(messages, key=attrgetter("key"))  # stable: of one key they stay as they are
    return [list(chain) for _, chain in groupby(ordered, attrgetter("key"))]


class MemoryPublisher:
    """Keeps messages in a list: for tests, and to look at. `failures` are raised first, one at each publish."""

    def __init__(self) -> None:
        self.messages: list[IntegrationMessage] = []
        self.failures: list[str] = []
        self.published = 0  # messages, repetitions too

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def publish(self, messages: Sequence[IntegrationMessage]) -> None:
        """Keep those that are new: two publications may tell of one event."""
        known = {each.known_by for each in self.messages}
        self.published += len(messages)
        if self.failures:
            self.messages += [each for each in messages[: len(messages) // 2] if each.known_by not in known]
            raise PublishError("memory", self.failures.pop(0))
        self.messages += [each for each in messages if each.known_by not in known]
