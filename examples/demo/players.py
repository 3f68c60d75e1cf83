"""Traffic: customers who place, change, ship and cancel orders over HTTP, and a storekeeper who fills the shelves.

What each of them chooses comes from a generator of its own, seeded; when they choose it depends on the machine.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from diptych import id_for, new_id
from examples.demo.catalogue import CATALOGUE, CITIES, FIRST_NAMES, LAST_NAMES
from examples.demo.http import Answer, Client
from examples.demo.tally import Tally


@dataclass(slots=True)
class Basket:
    """An order as the player who placed it remembers it."""

    id: str
    lines: list[int]
    is_shipped: bool = False


@dataclass(slots=True)
class Shop:
    """What all players share. `wanted` are the products that somebody could not get."""

    host: str
    port: int
    tally: Tally
    pause: float
    takes_money: bool = False
    wanted: set[int] = field(default_factory=set)

    def client(self, user: str) -> Client:
        """Open a connection for a player."""
        return Client(self.host, self.port, user)


def product_id(number: int) -> str:
    """The id of a product of the catalogue: the same in every run."""
    return str(id_for("demo-product", CATALOGUE[number][0]))


class Storekeeper:
    """Registers the catalogue, fills the shelves, and fills up what ran out."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self._shop, self._random = shop, Random(f"{seed}/storekeeper")

    async def open_shop(self) -> None:
        """Have something of everything, before the first customer comes in."""
        async with self._shop.client("storekeeper") as client:
            for number, (description, _) in enumerate(CATALOGUE):
                product = {"product_id": product_id(number), "description": description}
                await client.send("POST", "/products", product)  # in a second run it is there already
                await self._deliver(client, number, 40)

    async def play(self) -> None:
        """Fill up for ever."""
        async with self._shop.client("storekeeper") as client:
            while True:
                await asyncio.sleep(0.7)
                if self._shop.wanted:
                    await self._deliver(client, self._shop.wanted.pop(), self._random.choice((60, 120, 240)))

    async def _deliver(self, client: Client, number: int, quantity: int) -> None:
        answer = await client.send("POST", f"/products/{product_id(number)}/stock", {"quantity": quantity})
        self._shop.tally.count(answer, f"[cyan]+{quantity:<3}[/] {CATALOGUE[number][0]} delivered")


class Customer:
    """Somebody with wishes, second thoughts, and at times another name."""

    def __init__(self, shop: Shop, seed: int, number: int) -> None:
        self._shop, self._random = shop, Random(f"{seed}/customer/{number}")
        self._first = FIRST_NAMES[number % len(FIRST_NAMES)]
        self._id = str(new_id())
        self._baskets: list[Basket] = []

    async def play(self) -> None:
        """Come in, then do one thing after another for ever."""
        async with self._shop.client(self._first.lower()) as client:
            self._client = client
            customer = {"customer_id": self._id, "name": self._name(), "address": self._address()}
            self._count(await client.send("POST", "/customers", customer), f"{self._first} comes in")
            while True:
                await asyncio.sleep(self._random.expovariate(1 / self._shop.pause))
                await self._choose()()

    def _choose(self) -> Callable[[], Awaitable[None]]:
        if len(self._baskets) < 2:
            return self._order
        choices = {
            self._order: 30, self._add: 18, self._look: 16, self._ship: 14, self._remove: 8,
            self._redirect: 7, self._cancel: 6, self._rename: 1, self._check_out: 30 if self._shop.takes_money else 0,
        }  # fmt: skip
        return self._random.choices(list(choices), list(choices.values()))[0]

    async def _order(self) -> None:
        chosen = [self._item() for _ in range(self._random.randint(1, 4))]
        order = {"customer_id": self._id, "items": [item for _, item in chosen], "shipping_address": self._address()}
        value = sum((item["quantity"] * Decimal(item["unit_price"]) for _, item in chosen), Decimal(0))
        number, first = chosen[0]
        more = f" and {len(chosen) - 1} more" if len(chosen) > 1 else ""
        answer = await self._client.send("POST", "/orders", order)
        what = f"{first['quantity']} × {CATALOGUE[number][0]}{more}"
        self._count(answer, f"[green]yes[/] {self._first} orders {what} for £{value}")
        if answer.is_success:
            basket = Basket(answer.body["order_id"], list(range(1, len(chosen) + 1)))
            self._baskets = [*self._baskets[-9:], basket]
            self._shop.tally.last_order, self._shop.tally.last_customer = basket.id, self._id
            await self._read(f"/orders/{basket.id}", after=answer.headers.get("diptych-position"))
        else:
            self._shop.wanted.update(number for number, _ in chosen)

    async def _check_out(self) -> None:
        number, item = self._item()
        order = {"customer_id": self._id, "items": [item], "shipping_address": self._address()}
        answer = await self._client.send("POST", "/checkouts", order)
        self._count(answer, f"[green]yes[/] {self._first} pays for {item['quantity']} × {CATALOGUE[number][0]}")

    async def _add(self) -> None:
        basket, (number, item) = self._basket(), self._item()
        answer = await self._client.send("POST", f"/orders/{basket.id}/items", {"item": item})
        self._count(answer, f"[green]yes[/] {self._first} adds {item['quantity']} × {CATALOGUE[number][0]}")
        if answer.is_success:
            basket.lines.append(answer.body["line"])

    async def _remove(self) -> None:
        basket = self._basket()
        line = basket.lines.pop() if len(basket.lines) > 1 else basket.lines[0]
        answer = await self._client.send("DELETE", f"/orders/{basket.id}/items/{line}")
        self._count(answer, f"[green]yes[/] {self._first} takes line {line} off again")

    async def _redirect(self) -> None:
        address = self._address()
        path = f"/orders/{self._basket().id}/shipping-address"
        answer = await self._client.send("PUT", path, {"shipping_address": address})
        self._count(answer, f"[green]yes[/] {self._first} moves to {address['city']}")

    async def _ship(self) -> None:
        basket = self._basket()
        status = "delivered" if basket.is_shipped else "shipped"
        answer = await self._client.send("PUT", f"/orders/{basket.id}/status", {"status": status})
        self._count(answer, f"[green]yes[/] {self._first}'s order is {status}")
        if basket.is_shipped or not answer.is_success:
            self._baskets.remove(basket)
        basket.is_shipped = True

    async def _cancel(self) -> None:
        basket = self._basket()
        answer = await self._client.send("POST", f"/orders/{basket.id}/cancel", {"reason": "second thoughts"})
        self._count(answer, f"[green]yes[/] {self._first} cancels an order")
        if answer.is_success:
            self._baskets.remove(basket)

    async def _rename(self) -> None:
        name = self._name()
        answer = await self._client.send("POST", f"/customers/{self._id}/rename", {"name": name})
        self._count(answer, f"[green]yes[/] {self._first} is called {name} now")

    async def _look(self) -> None:
        await self._read(
            self._random.choice((f"/orders?customer_id={self._id}", f"/orders/{self._basket().id}", "/products"))
        )

    async def _read(self, path: str, after: str | None = None) -> None:
        self._shop.tally.count_read(await self._client.send("GET", path, after=after))

    def _count(self, answer: Answer, news: str) -> None:
        self._shop.tally.count(answer, news)

    def _basket(self) -> Basket:
        return self._random.choice(self._baskets)

    def _item(self) -> tuple[int, dict[str, Any]]:
        number = min(int(self._random.expovariate(0.2)), len(CATALOGUE) - 1)
        quantity = self._random.choice((1, 1, 1, 2, 2, 3, 6))
        return number, {"product_id": product_id(number), "quantity": quantity, "unit_price": CATALOGUE[number][1]}

    def _name(self) -> str:
        return f"{self._first} {self._random.choice(LAST_NAMES)}"

    def _address(self) -> dict[str, str]:
        city, country = self._random.choice(CITIES)
        return {"street": f"{self._random.randint(1, 99)} High Street", "city": city, "country": country}
