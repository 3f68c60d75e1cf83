"""Who takes the money: a payment provider, spoken to over HTTP. `fake_provider.py` is one to try things with."""

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import httpx

TIMEOUT: Final = 5.0  # seconds


class Charged(NamedTuple):
    """The provider has the money, and calls it so."""

    reference: str


class Declined(NamedTuple):
    """The provider will not take the money."""

    reason: str


class PaymentProvider(Protocol):
    """Takes money and gives it back: once for each key, however often it is asked.

    It raises while it cannot tell what became of it; then it may have happened. Ask again, under the same key.
    """

    async def charge(self, payment_id: UUID, amount: Decimal, key: str) -> Charged | Declined:
        """Take the money."""

    async def refund(self, reference: str, key: str) -> None:
        """Give back what was taken under this reference."""


class HttpProvider:
    """A payment provider with the usual API: `Idempotency-Key` on each request, 402 for a card that is declined."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def charge(self, payment_id: UUID, amount: Decimal, key: str) -> Charged | Declined:
        """Take the money."""
        body = {"payment_id": str(payment_id), "amount": str(amount)}
        answer = await self._client.post("/charges", json=body, headers={"Idempotency-Key": key})
        if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
            return Declined(answer.json()["reason"])
        answer.raise_for_status()
        return Charged(answer.json()["reference"])

    async def refund(self, reference: str, key: str) -> None:
        """Give it back."""
        answer = await self._client.post(f"/charges/{reference}/refund", headers={"Idempotency-Key": key})
        answer.raise_for_status()


def provider_at(url: str, timeout: float = TIMEOUT) -> Callable[[], AsyncIterator[PaymentProvider]]:
    """Return what `app.provide(PaymentProvider, ...)` takes: the provider under this URL, closed at the end."""

    async def provider() -> AsyncIterator[PaymentProvider]:
        async with httpx.AsyncClient(base_url=url, timeout=timeout) as client:
            yield HttpProvider(client)

    return provider
