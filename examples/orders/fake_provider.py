"""A payment provider to try things with: keeps a ledger, honours keys, and is as unreliable as you tell it to be.

SHOP=http://127.0.0.1:8000 uvicorn --factory examples.orders.fake_provider:unreliable --port 8001
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Annotated, Final, NamedTuple
from uuid import UUID

import httpx
from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from examples.orders.provider import Charged, Declined

Tell = Callable[[UUID, str], Awaitable[object]]
Key = Annotated[str, Header(alias="Idempotency-Key")]


class Manners(NamedTuple):
    """How it behaves: the share of requests, from 0 to 1, in which it does so."""

    fails: float = 0  # answers 503, before or after it was done
    declines: float = 0  # and goes on to decline that payment
    hangs: float = 0  # does it, and does not answer before the client has given up
    repeats: float = 0  # tells that the money is there twice


PERFECT: Final = Manners()


@dataclass
class Charge:
    """Money that was taken."""

    payment_id: UUID
    amount: Decimal
    reference: str
    refunds: int = 0


class ChargeRequest(BaseModel):
    """What a charge is asked for with."""

    payment_id: UUID
    amount: Decimal


class FakeProvider:
    """The provider. Its manners may be changed at any time.

    `tell` is called with payment and reference when a charge took place, beside the answer.
    """

    def __init__(self, manners: Manners = PERFECT, *, seed: int = 1, tell: Tell | None = None) -> None:
        self.manners, self.tell, self._random = manners, tell, Random(seed)
        self.charges: dict[str, Charge] = {}  # by reference
        self.requests = 0
        self._done: dict[str, Charged | Declined] = {}  # by key: another key is another charge, as everywhere

    def charge(self, asked: ChargeRequest, key: str) -> Charged | Declined:
        """Take money, once for a key."""
        if key not in self._done:
            self._done[key] = Declined("no cover") if self._is_so(self.manners.declines) else self._take(asked)
        return self._done[key]

    def refund(self, reference: str, key: str) -> None:
        """Give money back, once for a key."""
        if key not in self._done:
            self.charges[reference].refunds += 1
            self._done[key] = Charged(reference)

    def _take(self, asked: ChargeRequest) -> Charged:
        reference = f"ch_{len(self.charges) + 1}"
        self.charges[reference] = Charge(asked.payment_id, asked.amount, reference)
        return Charged(reference)

    async def answer(self, request: Request, act: Callable[[], Charged | Declined | None]) -> Response:
        """Do what is asked for, as well as its manners allow."""
        self.requests += 1
        is_failing, is_before = self._is_so(self.manners.fails), self._is_so(0.5)
        if is_failing and is_before:
            return Response(status_code=503)
        done = act()
        if self._is_so(self.manners.hangs):
            while (await request.receive())["type"] != "http.disconnect":
                pass
        if isinstance(done, Charged):
            await self._told(done)
        if is_failing:
            return Response(status_code=503)
        if isinstance(done, Declined):
            return JSONResponse(done._asdict(), status_code=402)
        return JSONResponse({} if done is None else done._asdict())

    async def _told(self, done: Charged) -> None:
        for _ in range(2 if self._is_so(self.manners.repeats) else 1):
            if self.tell is not None:
                await self.tell(self.charges[done.reference].payment_id, done.reference)

    def _is_so(self, share: float) -> bool:
        return self._random.random() < share


def make_provider(provider: FakeProvider) -> FastAPI:
    """Put routes in front of a provider."""
    api = FastAPI(title="A fake payment provider")

    @api.post("/charges")
    async def charge(asked: ChargeRequest, key: Key, request: Request) -> Response:
        """Take money."""
        return await provider.answer(request, lambda: provider.charge(asked, key))

    @api.post("/charges/{reference}/refund")
    async def refund(reference: str, key: Key, request: Request) -> Response:
        """Give it back."""
        return await provider.answer(request, lambda: provider.refund(reference, key))

    @api.get("/charges")
    async def ledger() -> list[Charge]:
        """All that was taken."""
        return list(provider.charges.values())

    return api


def tell_shop(url: str) -> Tell:
    """Return what tells the order service under this URL that the money is there."""

    async def tell(payment_id: UUID, reference: str) -> None:
        async with httpx.AsyncClient(base_url=url) as client:
            await client.post(f"/api/v1/payments/{payment_id}/received", json={"reference": reference})

    return tell


def unreliable() -> FastAPI:
    """One that fails, hangs, declines and repeats now and then. It tells who is at SHOP of what it took."""
    shop = os.environ.get("SHOP")
    manners = Manners(fails=0.2, declines=0.05, hangs=0.05, repeats=0.2)
    return make_provider(FakeProvider(manners, tell=tell_shop(shop) if shop else None))
