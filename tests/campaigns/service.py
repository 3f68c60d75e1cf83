"""The order service as a process of its own, killed without warning under load, and started again."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Literal
from uuid import UUID, uuid4

import httpx

from tests.postgres_servers.pair import Pair

_ROOT = Path(__file__).parents[2]
_PATIENCE = 60.0  # seconds until a service that does not answer is a failure


class Service:
    """uvicorn with `examples.orders.main:api` on one database and one port."""

    def __init__(self, database: str, log: Path) -> None:
        self._database, self.log = database, log
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it and return when it is ready."""
        uvicorn = f"-m uvicorn examples.orders.main:api --port {self._port} --log-level error".split()
        environment = os.environ | {"ORDERS_DATABASE": self._database}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *uvicorn, cwd=_ROOT, env=environment, stdout=log, stderr=log
            )
        await self.turns("ready")

    async def turns(self, state: Literal["ready", "unready"]) -> None:
        """Return when `/health/ready` says so. :raises AssertionError: it does not, or the service has ended."""
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE
        async with httpx.AsyncClient(base_url=self.url, timeout=_PATIENCE) as client:
            while True:
                try:
                    if ((await client.get("/health/ready")).status_code == 200) == (state == "ready"):
                        return
                except httpx.TransportError:
                    assert self._process.returncode is None, "the service has ended"
                assert time.monotonic() < deadline, f"the service did not turn {state}"
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End it as a power switch would, but for the disk."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()


@asynccontextmanager
async def serving(database: str, log: Path) -> AsyncIterator[Service]:
    """A started service on the database that a URL names, killed at the end."""
    service = Service(database, log)
    await service.start()
    try:
        yield service
    finally:
        await service.kill()


class Shoppers:
    """They order one thing each time, and repeat with the same key whatever got no answer."""

    def __init__(self, url: str, count: int) -> None:
        self._client = httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=10)
        self._count = count
        self.customer, self.product = uuid4(), uuid4()
        self.orders: dict[UUID, int] = {}
        self.last_position = ""
        self.repeated = self.unavailable = 0
        self.is_over = False

    async def __aenter__(self) -> "Shoppers":
        address = {"country": "Norway"}
        await self._send("/customers", {"customer_id": str(self.customer), "name": "Ada", "address": address})
        await self._send("/products", {"product_id": str(self.product), "description": "Lamp"})
        await self._send(f"/products/{self.product}/stock", {"quantity": 100_000})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def shop(self) -> None:
        """Order until it is over; every order begun is brought to its answer."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._one(Random(number)))

    async def _one(self, random: Random) -> None:
        while not self.is_over:
            order, quantity = uuid4(), random.randrange(1, 4)
            item = {"product_id": str(self.product), "quantity": quantity, "unit_price": "2.50"}
            body = {"order_id": str(order), "customer_id": str(self.customer), "items": [item]}
            answer = await self._send("/orders", {**body, "shipping_address": {"country": "Norway"}})
            assert answer.json() == {"order_id": str(order)}
            self.orders[order] = quantity

    async def _send(self, path: str, body: dict[str, object]) -> httpx.Response:
        """Send until an answer comes, always with the same key; where others were first (409), too."""
        key, deadline = str(uuid4()), time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                answer = await self._client.post(path, json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                self.repeated += 1
                await asyncio.sleep(0.05)
                continue
            if answer.status_code not in (409, 503):
                assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
                self.last_position = answer.headers["Diptych-Position"]
                return answer
            self.unavailable += 1
            await asyncio.sleep(0.05)
        raise AssertionError(f"{path} got no answer in {_PATIENCE:.0f} s")

    async def have_more(self, orders: int) -> None:
        """Return when so many more orders were acknowledged. :raises TimeoutError: the service did not resume."""
        wanted = len(self.orders) + orders
        async with asyncio.timeout(_PATIENCE):
            while len(self.orders) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def check(self) -> None:
        """Every order is there once, and the numbers add up. :raises AssertionError:"""
        headers = {"Diptych-After": self.last_position}
        for order, quantity in self.orders.items():
            answer = await self._client.get(f"/orders/{order}", headers=headers)
            assert answer.status_code == 200, f"order {order} was acknowledged and is lost (L1)"
            assert [line["quantity"] for line in answer.json()["lines"]] == [quantity]
        sold = (await self._client.get(f"/products/{self.product}", headers=headers)).json()["quantity"]
        assert sold == sum(self.orders.values()), f"{sold} sold of {sum(self.orders.values())} ordered (C1, P1)"
        totals = (await self._client.get(f"/customers/{self.customer}", headers=headers)).json()
        assert totals["orders"] == len(self.orders), f"{totals} for {len(self.orders)} orders (C1)"


async def kill_under_load(database: str, log: Path, rounds: int, random: Random) -> Shoppers:
    """Kill and start again at random times while people shop; then see what there is."""
    async with serving(database, log) as service, Shoppers(service.url, 4) as shoppers:
        shopping = asyncio.create_task(shoppers.shop())
        for _ in range(rounds):
            await asyncio.sleep(random.uniform(0.2, 1.0))
            await service.kill()
            await service.start()
        await asyncio.sleep(0.2)
        shoppers.is_over = True
        await shopping
        await shoppers.check()
        return shoppers


async def fail_over_under_load(pair: Pair, log: Path, rounds: int, random: Random) -> Shoppers:
    """Kill the primary and promote its standby while people shop; every third time the standby was cut off before."""
    async with serving(pair.url(), log) as service, Shoppers(service.url, 4) as shoppers:
        shopping = asyncio.create_task(shoppers.shop())
        for each in range(1, rounds + 1):
            await shoppers.have_more(random.randrange(5, 30))
            if each % 3 == 0:
                await asyncio.to_thread(pair.cut_off)
                await asyncio.sleep(random.uniform(0.0, 0.4))
            await asyncio.to_thread(pair.primary.kill)
            await service.turns("unready")
            await asyncio.to_thread(pair.fail_over)
            await service.turns("ready")
            await shoppers.have_more(5)
            await asyncio.to_thread(pair.renew)
        shoppers.is_over = True
        await shopping
        await shoppers.check()
        return shoppers
