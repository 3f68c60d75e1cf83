"""Publishing as its user sees it, on every store: what is told, in which order, and however long the broker is away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest

from diptych import App, ConfigurationError, new_id
from diptych.app.tuning import Tuning
from diptych.errors import ProgrammingError, PublishError
from diptych.events.recorded import RecordedEvent
from diptych.reactions.messages import IntegrationEvent, IntegrationMessage, decode, encode
from diptych.reactions.publication import Publication
from diptych.reactions.publisher import MemoryPublisher
from diptych.subscriptions.duty import LANES
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.reading import Pace
from tests.sagas.shop import OrderCancelled, OrderPaid, OrderPlaced, PayOrder, PlaceOrder, shop
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio


class PlacedForOthers(IntegrationEvent, name="shop.order.placed"):
    """What others are told of a new order."""

    product_id: UUID
    pieces: int


class PaidForOthers(IntegrationEvent, name="shop.order.paid", version=2):
    """What others are told of a payment."""


def publication(name: str = "orders", **options: str) -> Publication:
    """What is told."""
    orders = Publication(name, source="/shop", **options)  # type: ignore[arg-type]

    @orders.event
    def placed(event: OrderPlaced) -> PlacedForOthers | None:
        return PlacedForOthers(product_id=event.product_id, pieces=event.quantity) if event.quantity else None

    @orders.event
    def paid(event: OrderPaid) -> PaidForOthers:
        return PaidForOthers()

    return orders


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind."""
    return url_for(request, tmp_path)


@pytest.fixture
def broker() -> MemoryPublisher:
    """What the messages go to."""
    return MemoryPublisher()


@pytest.fixture
async def app(url: str, broker: MemoryPublisher) -> AsyncIterator[App]:
    """The shop, that tells others of its orders."""
    app = App(url, mode="development")
    app.include(shop())
    app.publish(publication(), broker)
    async with app:
        yield app


async def test_events_that_are_public_are_told_in_the_order_of_their_stream(app: App, broker: MemoryPublisher) -> None:
    """D1"""
    ids = [new_id() for _ in range(20)]
    for order in ids:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=order, quantity=2))
        await app.commands.dispatch(PayOrder(order_id=order))
    await app.settled()
    for order in ids:
        told = [one.type for one in broker.messages if one.key == str(order)]
        assert told == ["shop.order.placed.v1", "shop.order.paid.v2"]
    first = broker.messages[0]
    assert (first.source, decode(encode(first))) == ("/shop", first)
    assert broker.published == 40


async def test_what_maps_to_nothing_is_not_told(app: App, broker: MemoryPublisher) -> None:
    await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=0))
    await app.settled()
    assert broker.messages == []


async def test_a_broker_that_is_away_blocks_no_command_and_loses_nothing(app: App, broker: MemoryPublisher) -> None:
    """D1, D3: what was half there when it failed is sent again under its ids."""
    broker.failures = ["the line is dead"] * 3
    ids = [new_id() for _ in range(30)]
    for order in ids:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=order, quantity=1))
    await app.settled()
    assert sorted(one.key for one in broker.messages) == sorted(map(str, ids))


async def test_a_restart_tells_nothing_again(tmp_path: Path) -> None:
    """P9, D1: the checkpoint follows what was confirmed."""
    brokers = [MemoryPublisher(), MemoryPublisher()]
    for broker in brokers:
        app = App(f"sqlite:///{tmp_path}/shop.db")
        app.include(shop())
        app.publish(publication(), broker)
        async with app:
            await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
            await app.settled()
    assert [len(broker.messages) for broker in brokers] == [1, 1]


async def test_publishing_again_from_the_beginning_gives_the_same_messages(tmp_path: Path) -> None:
    """D2: wiping the broker and publishing again under another name changes nothing for who knows the ids."""
    brokers = [MemoryPublisher(), MemoryPublisher()]
    for number, broker in enumerate(brokers):
        app = App(f"sqlite:///{tmp_path}/shop.db")
        app.include(shop())
        app.publish(publication(f"orders_{number}", begins="beginning"), broker)
        async with app:
            if not number:
                for _ in range(10):
                    await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
            await app.settled()
    assert sorted(brokers[0].messages) == sorted(brokers[1].messages)
    assert len(brokers[1].messages) == 10


async def test_what_is_wrong_with_a_publication_is_said_at_start() -> None:
    app = App("memory:")
    wrong = Publication("wrong", source="/shop")

    @wrong.event  # type: ignore[type-var]
    def cancelled(event: OrderCancelled) -> str:
        return "told"

    app.publish(wrong, MemoryPublisher())
    app.publish(Publication("empty", source="/shop"), MemoryPublisher())
    with pytest.raises(ConfigurationError, match=r"(?s)cancelled: it returns.*empty: it tells nothing"):
        async with app:
            pass


class Choosy(MemoryPublisher):
    """Never takes the messages of some orders, as a broker does to which they are too large."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.tries: dict[str, int] = {}

    async def publish(self, messages: Sequence[IntegrationMessage]) -> None:
        """Take those before the first of them, and say no."""
        for one in messages:
            self.tries[one.key] = self.tries.get(one.key, 0) + 1
            if one.key in self.refused:
                raise PublishError("it", "too large")
            await super().publish([one])


async def placed_in_one_lane(app: App, count: int) -> list[str]:
    """Place orders whose messages go out one after another."""
    orders: list[str] = []
    while len(orders) < count:
        order = new_id()
        if lane_of(str(order), LANES) == 0:
            await app.commands.dispatch(PlaceOrder(order_id=order, product_id=order, quantity=1))
            orders.append(str(order))
    return orders


@asynccontextmanager
async def held(app: App) -> AsyncIterator[None]:
    """Have the lanes of its only publication stand meanwhile, so that all that is recorded is in one page."""
    (keeper,) = app._started().duties.keepers
    await until(lambda: keeper.has_all)
    for work in keeper.works.values():
        work.is_paused = True
    await until(lambda: keeper.is_settled(0))
    yield
    for work in keeper.works.values():
        work.is_paused = False
        work.wake()


async def test_what_the_broker_never_takes_has_nothing_else_sent_again_and_again(url: str) -> None:
    """D1: all that was sent with it was sent again at each try, past the time in which a broker knows it, for ever."""
    broker, app = Choosy(), App(url, tuning=Tuning(pace=Pace(first_pause=0.001, longest_pause=0.001)))
    app.include(shop())
    app.publish(publication(begins="beginning"), broker)
    async with app:
        async with held(app):
            orders = await placed_in_one_lane(app, 20)
            poison = orders[11]
            broker.refused.add(poison)
        await until(lambda: broker.tries.get(poison, 0) > 100)
        assert [one.key for one in broker.messages] == orders[:11]
        assert max(broker.tries.get(one, 0) for one in orders if one != poison) < 10
        (status,) = (await app.status()).duties
        assert status.state == "away"
        assert status.error is not None
        assert status.error.endswith("; the first that waits is OrderPlaced at position 12")
        broker.refused.clear()
        await app.settled()
    assert [one.key for one in broker.messages] == orders


async def test_what_is_before_an_event_that_cannot_be_told_goes_out(app: App, broker: MemoryPublisher) -> None:
    """D1: it was held back with it, though only what comes later has to wait."""
    (keeper,) = app._started().duties.keepers
    message = keeper.duty.message  # type: ignore[attr-defined]
    poison: list[str] = []

    def broken(recorded: RecordedEvent) -> IntegrationMessage | None:
        if str(recorded.row.stream.id) in poison:
            raise ProgrammingError("boom")
        return message(recorded)  # type: ignore[no-any-return]

    keeper.duty.message = broken  # type: ignore[attr-defined]
    async with held(app):
        orders = await placed_in_one_lane(app, 3)
        poison.append(orders[2])
    await until(lambda: keeper.error is not None)
    assert [one.key for one in broker.messages] == orders[:2]


async def told_wrongly(make: Callable[[OrderPlaced], Any]) -> str:
    """What is wrong with a publication whose function does this."""
    app, orders = App("memory:"), Publication("orders", source="/shop")

    @orders.event
    def placed(event: OrderPlaced) -> PlacedForOthers:
        return make(event)  # type: ignore[no-any-return]

    app.include(shop())
    app.publish(orders, MemoryPublisher())
    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        with anyio.fail_after(10):
            while not (problems := (await app.status()).problems):  # noqa: ASYNC110 - it is looked at, not told
                await asyncio.sleep(0.01)
        return problems[0]


def boom(event: OrderPlaced) -> None:
    raise ValueError("boom")


async def test_a_function_that_raises_is_told_with_its_event() -> None:
    """An operator could not know which event it was, and was told to type what a publication refuses."""
    told = await told_wrongly(boom)
    assert "orders is stopped: OrderPlaced at position 1 cannot be told: ValueError: boom." in told
    assert "it goes on by itself, within a minute; look: diptych reaction show orders" in told


async def test_only_what_is_annotated_is_told() -> None:
    """The contract, as `diptych event asyncapi` writes it, would not know of it."""
    told = await told_wrongly(lambda event: PaidForOthers())
    assert "placed made PaidForOthers(), which its annotation does not name" in told


async def test_two_publications_tell_of_one_event() -> None:
    """D1: they are two messages, and have one id."""
    app, broker = App("memory:"), MemoryPublisher()
    app.include(shop())
    for name in ("all", "some"):
        one = Publication(name, source=f"/{name}")

        @one.event
        def placed(event: OrderPlaced) -> PlacedForOthers:
            return PlacedForOthers(product_id=event.product_id, pieces=event.quantity)

        app.publish(one, broker)
    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await app.settled()
    assert sorted(message.source for message in broker.messages) == ["/all", "/some"]
