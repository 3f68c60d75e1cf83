"""Two sagas that are about the same thing: neither takes the other's commands for its own."""

from pathlib import Path

import pytest

from diptych import App, Command, IdempotencyKey, Saga, Steps, new_id, on, step
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class Note(Command):
    """Writes down who wants it."""

    by: str


class First(Saga):
    """Begins with an order."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Say so."""
        self.dispatch(Note(by="first"))


class Second(Saga):
    """Begins with the same order."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Say so."""
        self.dispatch(Note(by="second"))


class Keys(list[IdempotencyKey]):
    """What a provider was called with."""


class Third(Steps):
    """Calls somebody."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Begin."""

    @step
    async def charge(self, keys: Keys, key: IdempotencyKey) -> None:
        """Call."""
        keys.append(key)


class Fourth(Third):
    """Calls somebody, too."""


@pytest.mark.parametrize("store", ["memory", "sqlite", "postgres"])
async def test_each_has_its_commands_sent(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """S1: ids are of the saga, its key and the cause, not of the key and the cause alone."""
    request.param = store
    app, noted = App(url_for(request, tmp_path)), list[str]()
    app.include(shop())
    app.saga(First)
    app.saga(Second)

    @app.command_handler
    async def note(command: Note) -> None:
        noted.append(command.by)

    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await app.settled()
    assert sorted(noted) == ["first", "second"]


async def test_each_calls_under_a_key_of_its_own() -> None:
    """S1: a provider that knows the key would leave out the second call."""
    app, keys = App("memory:"), Keys()
    app.include(shop())
    app.provide(Keys, keys)
    app.saga(Third)
    app.saga(Fourth)
    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await app.settled()
    assert len(set(keys)) == len(keys) == 2
