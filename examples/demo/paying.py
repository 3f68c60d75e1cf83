"""Payment in the demonstration: a provider in this process, spoken to over HTTP, that is not always well."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from rich.console import Console

from examples.demo.server import HOST, serving
from examples.orders.fake_provider import FakeProvider, Manners, make_provider

_MANNERS = Manners(fails=0.1, declines=0.05, hangs=0.02)
_ANY_PORT = 0


class Letters:
    """Receipts that nobody reads: the screen is for other news."""

    async def send(self, to: str, text: str, key: str) -> None:
        """Drop it."""


class Bank(NamedTuple):
    """The provider, and where it is."""

    provider: FakeProvider
    url: str


@asynccontextmanager
async def open_bank(is_wanted: bool, seed: int) -> AsyncIterator[Bank | None]:
    """Serve a provider while the block runs, if one is wanted."""
    if not is_wanted:
        yield None
        return
    provider = FakeProvider(_MANNERS, seed=seed)
    async with serving(make_provider(provider), _ANY_PORT) as port:
        yield Bank(provider, f"http://{HOST}:{port}")


def print_bank(console: Console, bank: Bank) -> None:
    """Say what the provider did."""
    taken = bank.provider.charges.values()
    back = sum(charge.refunds for charge in taken)
    console.print(
        f"The provider was asked {bank.provider.requests:,} times; it took money {len(taken):,} times "
        f"and gave it back {back:,} times."
    )
