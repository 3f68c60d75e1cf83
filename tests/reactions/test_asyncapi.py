"""The AsyncAPI document says what is published and consumed, and is one by the schema of AsyncAPI 3.0."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
from pydantic import BaseModel

from diptych import App, ConfigurationError
from diptych.app.contracts import asyncapi_of
from diptych.reactions.inbox import Inbox
from diptych.reactions.kafka import KafkaSource
from diptych.reactions.messages import IntegrationEvent, decode, encode
from diptych.reactions.nats import JetStream, NatsPublisher
from diptych.reactions.publication import Publication
from diptych.reactions.publisher import MemoryPublisher
from diptych.testing.contracts.publishers import message
from tests.reactions.test_inbox import PaymentReceived
from tests.reactions.test_publishing import publication
from tests.sagas.shop import OrderCancelled, PayOrder

SCHEMA = json.loads((Path(__file__).parent / "asyncapi-3.0.0.json").read_text())


class Line(BaseModel):
    """A part of an event."""

    product_id: UUID


class CancelledForOthers(IntegrationEvent, name="shop.order.cancelled"):
    """What others are told of an order that is off."""

    lines: list[Line]
    reason: str


def document() -> dict[str, Any]:
    """The document of a shop."""
    app, bank = App("memory:"), Inbox("bank", KafkaSource("kafka:9092", "payments", group="shop"))
    orders = publication()

    @orders.event
    def cancelled(event: OrderCancelled) -> CancelledForOthers:
        return CancelledForOthers(lines=[], reason=event.reason)

    @bank.message
    def received(event: PaymentReceived) -> PayOrder:
        return PayOrder(order_id=event.order_id)

    app.publish(orders, NatsPublisher("nats://nats", JetStream("SHOP", "shop")))
    app.consume(bank)
    return asyncapi_of(app, title="Shop", version="2.1.0")


def test_it_is_a_document_by_the_schema_of_asyncapi() -> None:
    assert [str(each) for each in jsonschema_rs.Draft7Validator(SCHEMA).iter_errors(document())] == []


def test_it_says_what_is_sent_and_received() -> None:
    found = document()
    assert (found["info"], found["asyncapi"]) == ({"title": "Shop", "version": "2.1.0"}, "3.0.0")
    assert {name: channel["address"] for name, channel in found["channels"].items()} == {
        "orders": "shop.>",
        "bank": "payments",
    }
    assert {name: one["action"] for name, one in found["operations"].items()} == {
        "send.orders": "send",
        "receive.bank": "receive",
    }
    assert set(found["components"]["messages"]) == {
        "shop.order.placed.v1",
        "shop.order.paid.v2",
        "shop.order.cancelled.v1",
        "bank.payment.received.v1",
    }


def test_a_message_is_what_the_document_says() -> None:
    """The payload's schema, its references resolved within the document, takes what is really sent."""
    found = document()
    sent = message("a", 1, '{"product_id":"01a220ec-f6ad-7014-8479-2ea9fab354f6","pieces":2}')
    wanted = {"$ref": "#/components/messages/shop.order.placed.v1/payload", "components": found["components"]}
    taker = jsonschema_rs.Draft202012Validator(wanted)
    assert [str(each) for each in taker.iter_errors(json.loads(encode(sent)))] == []
    assert decode(encode(sent)) == sent
    more = sent._replace(data=sent.data.replace('"pieces":2', '"pieces":2,"added":"since"'))
    assert list(taker.iter_errors(json.loads(encode(more)))) == []
    wrong = sent._replace(data='{"product_id":"no id","pieces":"two"}')
    assert not taker.is_valid(json.loads(encode(wrong)))


def test_faults_are_listed() -> None:
    app = App("memory:")
    app.publish(Publication("empty", source="/shop"), MemoryPublisher())
    with pytest.raises(ConfigurationError, match="empty: it tells nothing"):
        asyncapi_of(app)
