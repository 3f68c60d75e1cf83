"""Which saga an event is for: a function may say so, or for none; one that fails stops it, and says where."""

from datetime import timedelta
from pathlib import Path

import pytest

from diptych import Aggregate, App, Command, DomainEvent, Repository, Saga, Timeout, new_id, on
from diptych.errors import StaleReadError
from diptych.messages import Metadata
from diptych.sagas.row import saga_table
from tests.sagas.faults import rows
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop_app
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio

BUGS: set[str] = set()


def by_quantity(event: OrderPlaced, meta: Metadata) -> str | None:
    """One saga for each quantity; for small orders, none."""
    if BUGS:
        raise KeyError("quantity")
    return str(event.quantity) if event.quantity > 5 else None


class Large(Saga):
    """Counts large orders."""

    count: int = 0

    @on(starts=True, key=by_quantity)
    def placed(self, event: OrderPlaced) -> None:
        """Count."""
        self.count += 1


async def place(app: App, quantity: int) -> None:
    """Place an order."""
    await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=quantity))


async def counts(app: App) -> dict[str, str]:
    """What was counted."""
    return {row.key: row.state for row in await rows(app, saga_table("Large"))}


async def test_an_event_may_be_for_none() -> None:
    """And events of many streams for one."""
    async with shop_app("memory:", saga=Large) as app:
        for quantity in (1, 6, 6, 7):
            await place(app, quantity)
        await app.settled()
        assert await counts(app) == {"6": '{"count":2}', "7": '{"count":1}'}


async def test_one_whose_key_cannot_be_told_stops_it_and_is_taken_when_that_is_mended() -> None:
    """S1: nothing is skipped, and the error names the event; whose lane would it be?"""
    BUGS.add("bug")
    try:
        async with shop_app("memory:", saga=Large) as app:
            await place(app, 6)
            (keeper,) = app._started().duties.keepers
            await until(lambda: keeper.error is not None)
            with pytest.raises(StaleReadError, match="key of OrderPlaced at position 1"):
                await app.settled(0.1)
            BUGS.clear()
            await app.events.inline.leases.ask("Large", "retry")
            await app.settled()
            assert await counts(app) == {"6": '{"count":1}'}
            assert keeper.error is None
    finally:
        BUGS.clear()


class Noted(DomainEvent):
    shelf: str
    text: str


class Note(Aggregate): ...


class Write(Command):
    shelf: str
    text: str


class Due(Timeout): ...


class OfText(Saga):
    """One for each text."""

    count: int = 0

    @on(starts=True, key="text")
    def noted(self, event: Noted) -> None:
        """Count, and owe something under its key."""
        self.count += 1
        self.schedule(Due(), after=timedelta(1))

    @on
    def due(self, timeout: Due) -> None: ...


class OfBoth(Saga):
    """One for each text of each shelf."""

    @on(starts=True, key=("shelf", "text"))
    def noted(self, event: Noted) -> None: ...


def noting(url: str) -> App:
    """An app that notes texts, with a saga and a reaction of each."""
    app = App(url)
    app.saga(OfText)
    app.saga(OfBoth)

    @app.command_handler
    async def write(command: Write, notes: Repository[Note]) -> None:
        (await notes.get_or_new(new_id())).record(Noted(shelf=command.shelf, text=command.text))

    @app.reaction(key="text")
    async def read(event: Noted) -> None: ...

    return app


@pytest.mark.parametrize("store", ["memory", "sqlite", "postgres"])
async def test_a_very_long_key_is_one(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """P7: an index of PostgreSQL could not hold it, and the lane of all such keys stopped."""
    request.param = store
    long = "".join(str(new_id()) for _ in range(200))
    async with noting(url_for(request, tmp_path)) as app:
        for text in (long, long, f"{long}!"):
            await app.commands.dispatch(Write(shelf="a", text=text))
        await app.settled()
        assert (await app.status()).problems == ()
        found = {row.key: row.state for row in await rows(app, saga_table("OfText"))}
    assert sorted(found.values()) == ['{"count":1}', '{"count":2}']
    assert all(key.startswith(long[:900]) and len(key) <= 1000 for key in found)


async def test_keys_of_several_fields_are_not_mixed_up() -> None:
    """S1: a/b on c and b/c on a were one saga."""
    async with noting("memory:") as app:
        for shelf, text in (("a/b", "c"), ("a", "b/c"), ("a", "b"), ("a", "b")):
            await app.commands.dispatch(Write(shelf=shelf, text=text))
        await app.settled()
        found = sorted(row.key for row in await rows(app, saga_table("OfBoth")))
    assert found == ["a%2Fb/c", "a/b", "a/b%2Fc"]


async def test_one_uuid_written_in_two_ways_is_two_keys() -> None:
    """S1: they were in two lanes and had one row, which each wrote over the other's head."""
    one = new_id()
    async with noting("memory:") as app:
        for text in (str(one), str(one).upper(), one.hex, f"{{{one}}}"):
            await app.commands.dispatch(Write(shelf="a", text=text))
        await app.settled()
        found = [(row.id, row.key, row.state) for row in await rows(app, saga_table("OfText"))]
    assert {state for _, _, state in found} == {'{"count":1}'}
    assert len({id for id, _, _ in found}) == 4
    assert (one, str(one), '{"count":1}') in found
