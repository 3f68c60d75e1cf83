"""What is wrong with sagas, reactions, publications and inboxes is said at start, with the line and what to write."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych import App, ConfigurationError, Key, Metadata, Projection, ReadModel, on
from diptych.app.outline import outline
from diptych.reactions.inbox import Inbox
from diptych.reactions.messages import IntegrationEvent
from diptych.reactions.publication import Publication
from diptych.reactions.publisher import MemoryPublisher
from diptych.reactions.source import MemorySource
from tests.sagas.shop import CancelOrder, OrderPlaced, shop

pytestmark = pytest.mark.anyio


class Told(IntegrationEvent, name="shop.order.placed"):
    order_id: UUID


class OrderRow(ReadModel):
    id: Annotated[UUID, Key]


class Orders(Projection[OrderRow]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderRow:
        return OrderRow(id=meta.stream.id)


async def refused(declare: Callable[[App], object]) -> str:
    """Start an app with what is declared, and return what it says."""
    app = App("memory:")
    app.include(shop())
    declare(app)
    with pytest.raises(ConfigurationError) as error:
        await app.__aenter__()
    return str(error.value)


def publish(app: App, name: str) -> None:
    """Publish under this name."""
    publication = Publication(name, source="/shop")

    @publication.event
    def placed(event: OrderPlaced, meta: Metadata) -> Told:
        return Told(order_id=meta.stream.id)

    app.publish(publication, MemoryPublisher())


def orders_twice(app: App) -> None:
    """A projection and a publication, both of them called orders."""
    app.project(Orders)
    publish(app, "orders")


async def test_a_publication_cannot_have_the_name_of_a_projection() -> None:
    """Each took the other's generation for its own: queries read a table that was not there."""
    told = await refused(orders_twice)
    assert "orders: a projection has this name, too (" in told
    assert "give one another name" in told


async def test_a_table_of_a_saga_cannot_be_a_read_models() -> None:
    class OrdersTasks(ReadModel):
        id: Annotated[UUID, Key]

    class Other(Projection[OrdersTasks]):
        @on
        def placed(self, event: OrderPlaced, meta: Metadata) -> OrdersTasks:
            return OrdersTasks(id=meta.stream.id)

    def declare(app: App) -> None:
        app.project(Other)
        publish(app, "orders")

    assert "orders: a read model has its table orders_tasks, too (" in await refused(declare)


async def test_what_looks_from_outside_says_the_same() -> None:
    """`diptych doctor` and `describe` start nothing, and find it."""
    app = App("memory:")
    app.include(shop())
    orders_twice(app)
    assert any("orders: a projection has this name, too" in one for one in outline(app).problems)


def telling(app: App, publisher: object = None, **options: str) -> None:
    """Publish with these options."""
    publication = Publication("orders", **{"source": "/shop", **options})  # type: ignore[arg-type]

    @publication.event
    def placed(event: OrderPlaced, meta: Metadata) -> Told:
        return Told(order_id=meta.stream.id)

    app.publish(publication, publisher or MemoryPublisher())  # type: ignore[arg-type]


class Unopened(MemoryPublisher):
    async def open(self) -> None:
        raise OSError("no certificate")


def consuming(app: App, source: Any) -> None:
    """Consume from what is no source."""
    inbox = Inbox("orders", source)

    @inbox.message
    def told(event: Told) -> CancelOrder:
        return CancelOrder(order_id=event.order_id, reason="told")

    app.consume(inbox)


def says_nothing(app: App) -> None:
    """Publish with a function that does not say what it makes."""
    publication = Publication("orders", source="/shop")

    @publication.event
    def placed(event: OrderPlaced):  # type: ignore[no-untyped-def]
        return None

    app.publish(publication, MemoryPublisher())


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda app: telling(app, begins="now"), "Publication orders: begins='now'; it is head or beginning"),
        (lambda app: telling(app, source=""), "Publication orders: source=''; say who tells it"),
        (lambda app: telling(app, "nats://n1:4222"), "'nats://n1:4222' is no Publisher; write NatsPublisher(...)"),
        (lambda app: telling(app, Unopened()), "its Unopened cannot be opened: OSError: no certificate"),
        (lambda app: consuming(app, "nats://n1:4222"), "'nats://n1:4222' is no Source; write NatsSource(...)"),
        (says_nothing, "placed: it does not say what it returns; annotate the IntegrationEvent it makes"),
    ],
)
async def test_what_is_wrong_with_publications_and_inboxes(declare: Callable[[App], object], told: str) -> None:
    """A wrong `begins` published the whole history; the others were an AttributeError, or nothing at all."""
    assert told in await refused(declare)


async def test_two_inboxes_cannot_share_a_source() -> None:
    """Each acknowledged, and so lost, the messages of the other."""
    source = MemorySource()

    def declare(app: App) -> None:
        for name in ("payments", "refunds"):
            inbox = Inbox(name, source)

            @inbox.message
            def told(event: Told) -> CancelOrder:
                return CancelOrder(order_id=event.order_id, reason="told")

            app.consume(inbox)

    assert "Inbox refunds: its source is that of inbox payments, too" in await refused(declare)
