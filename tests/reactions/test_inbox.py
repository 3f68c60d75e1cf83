"""Messages of other systems become commands once, and what cannot be read is put aside with its bytes."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest

from diptych import App, Command, new_id
from diptych.errors import MessageDecodeError, StaleReadError, StoreUnavailableError
from diptych.reactions.inbox import Inbox
from diptych.reactions.messages import IntegrationEvent, IntegrationMessage, decode, encode
from diptych.reactions.source import Incoming, MemorySource
from diptych.store.protocols import Append, Appended, EventStore
from diptych.store.tables import Table
from diptych.stream import StreamName
from diptych.subscriptions.duty import Work
from diptych.subscriptions.keeping import Keeper
from diptych.subscriptions.tasks import Task
from tests.sagas.shop import PayOrder, PlaceOrder, shop
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio


class PaymentReceived(IntegrationEvent, name="bank.payment.received"):
    """What the bank tells."""

    order_id: UUID
    amount: int


KIND = PaymentReceived.message_type()


def inbox(source: MemorySource, taken: list[int]) -> Inbox:
    """What is taken of the bank's messages: payments of more than nothing."""
    bank = Inbox("bank", source)

    @bank.message
    def received(event: PaymentReceived, message: IntegrationMessage) -> PayOrder | None:
        taken.append(event.amount)
        return PayOrder(order_id=event.order_id) if event.amount else None

    return bank


def paid(order: UUID, amount: int = 5, id: UUID | None = None) -> bytes:
    """A message of the bank."""
    event = PaymentReceived(order_id=order, amount=amount)
    at = datetime(2026, 11, 28, tzinfo=UTC)
    return encode(
        IntegrationMessage(id or new_id(), event.message_type(), "/bank", str(order), at, event.model_dump_json())
    )


@pytest.fixture
def source() -> MemorySource:
    """Where the messages come from."""
    return MemorySource()


@pytest.fixture
def taken() -> list[int]:
    """The amounts of the messages that were read."""
    return []


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def app(
    request: pytest.FixtureRequest, tmp_path: Path, source: MemorySource, taken: list[int]
) -> AsyncIterator[App]:
    """The shop, that hears of payments."""
    app = App(url_for(request, tmp_path), mode="development")
    app.include(shop())
    app.consume(inbox(source, taken))
    async with app:
        yield app


async def events_of(app: App, order: UUID) -> list[str]:
    """The events of an order."""
    return [row.type for row in await app.events.read_stream(StreamName("", "Order", order))]


async def aside(app: App) -> list[Task]:
    """What was put aside."""
    table: Table = app._started().duties.duties[0].tasks
    async with app.events.inline.reader() as session:
        columns = ", ".join(column.name for column in table.columns)
        rows = await session.fetch(f"SELECT {columns} FROM {table.name} WHERE state = 'parked' ORDER BY id", {})
        return session.decode(table, rows)


async def test_a_message_takes_effect_once_however_often_it_comes(app: App, source: MemorySource) -> None:
    """D2, C1"""
    order, raw = new_id(), b""
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    raw = paid(order)
    for _ in range(3):
        source.put(raw)
    await until(lambda: source.acknowledged == 3)
    assert await events_of(app, order) == ["OrderPlaced", "OrderPaid"]
    assert await aside(app) == []


async def test_what_is_no_business_of_ours_is_left_alone(app: App, source: MemorySource, taken: list[int]) -> None:
    source.put(paid(new_id(), 0))
    other = IntegrationMessage(new_id(), "bank.opened.v1", "/bank", "", datetime(2026, 11, 28, tzinfo=UTC), "{}")
    source.put(encode(other))
    await until(lambda: source.acknowledged == 2)
    assert taken == [0]
    assert await aside(app) == []


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\xff\x00rubbish", "MessageDecodeError"),
        (b"{}", "MessageDecodeError"),
        (b"[" * 100_000, "MessageDecodeError"),
        (
            encode(IntegrationMessage(new_id(), "bank.payment.received.v1", "/bank", "a", datetime.now(UTC), "{}")),
            "order",
        ),
    ],
)
async def test_what_cannot_be_read_is_put_aside_and_lets_others_pass(
    app: App, source: MemorySource, raw: bytes, why: str
) -> None:
    """I2"""
    order = new_id()
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    source.put(raw, "it")
    source.put(paid(order))
    await until(lambda: source.acknowledged == 2)
    assert await events_of(app, order) == ["OrderPlaced", "OrderPaid"]
    (task,) = await aside(app)
    assert why in task.error


def changed(**attributes: object) -> bytes:
    """A message of the bank for an order that is not there, with other attributes than it should have."""
    return json.dumps({**json.loads(paid(new_id())), **attributes}).encode()


@pytest.mark.parametrize(
    "attributes",
    [
        {"subject": 5},
        {"subject": {"a": 1}},
        {"subject": "a\0b"},
        {"subject": "\ud800"},
        {"type": "bank\0"},
        {"type": KIND, "tenant": 5},
        {"tenant": "a\0b"},
        {"slice": float("inf")},
        {"position": [1]},
        {"data": {"order_id": "\ud800", "amount": 1}},
        {"subject": None},
        {"subject": "".join(f"{number:x}" for number in range(20_000))},
    ],
    ids=lambda attributes: str(attributes)[:30],
)
async def test_a_message_with_odd_attributes_stops_nobody(
    app: App, source: MemorySource, attributes: dict[str, object]
) -> None:
    """I2: such a message once ended the inbox each time that it came, with all that came after it."""
    order, raw = new_id(), changed(**attributes)
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    source.put(raw, "\0\ud800")
    source.put(paid(order))
    await until(lambda: source.acknowledged == 2)
    assert await events_of(app, order) == ["OrderPlaced", "OrderPaid"]
    (task,) = await aside(app)
    assert b64decode(json.loads(task.body)["raw"]) == raw


async def test_a_tenant_makes_a_key_no_longer_than_a_row_may_have(app: App, source: MemorySource) -> None:
    """I2: written with its tenant it could be too long for the index of a store."""
    source.put(changed(tenant="/" * 999, subject="k" * 999))
    await until(lambda: source.acknowledged == 1)
    (task,) = await aside(app)
    assert task.key.startswith("tenant:%2F")
    assert len(task.key.encode()) <= 1000


async def test_two_messages_that_the_broker_knows_by_one_id_are_both_kept(app: App, source: MemorySource) -> None:
    """I2: a topic that was made anew counts from nothing again."""
    for raw in (b"one", b"two"):
        source.put(raw, "topic/0/0")
    await until(lambda: source.acknowledged == 2)
    assert {b64decode(json.loads(task.body)["raw"]) for task in await aside(app)} == {b"one", b"two"}


async def test_two_systems_may_use_one_id(app: App, source: MemorySource) -> None:
    """A CloudEvent is known by its source and its id together."""
    orders, id = [new_id(), new_id()], new_id()
    for number, order in enumerate(orders):
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        source.put(json.dumps({**json.loads(paid(order, id=id)), "source": f"/bank/{number}"}).encode())
    await until(lambda: source.acknowledged == 2)
    for order in orders:
        assert await events_of(app, order) == ["OrderPlaced", "OrderPaid"]


async def test_what_is_refused_is_put_aside_and_taken_again_when_somebody_says_so(
    app: App, source: MemorySource
) -> None:
    """The order is not there yet: the operator tries again once it is."""
    order = new_id()
    source.put(paid(order))
    await until(lambda: source.acknowledged == 1)
    (task,) = await aside(app)
    assert "AggregateNotFoundError" in task.error
    assert json.loads(task.body)["place"] == "memory"
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    await app.events.inline.leases.ask("bank", "retry")
    await until_paid(app, order)
    assert await events_of(app, order) == ["OrderPlaced", "OrderPaid"]
    assert await aside(app) == []


async def test_of_a_key_what_was_put_aside_first_is_left_out_and_the_rest_is_taken_again_in_its_order(
    app: App, source: MemorySource, taken: list[int]
) -> None:
    """I2: all of the key was left out, for ever, when an operator had been asked for one; a retry was in any order."""
    order, amounts = new_id(), [4, 1, 3, 2, 6, 5]
    for amount in amounts:
        source.put(paid(order, amount))
    await until(lambda: source.acknowledged == 6)
    for verb in ("skip", "retry"):
        taken.clear()
        await app.events.inline.leases.ask_lane("bank", verb, 0, key=str(order), reason="a test")
        async with asyncio.timeout(10):
            while (await app.events.inline.leases.board()).requests:  # noqa: ASYNC110 - it is looked at, not told
                await anyio.sleep(0.01)
    assert taken == amounts[1:]
    assert len(await aside(app)) == 5
    outcomes = [one.outcome for one in await app.events.inline.leases.requests()]
    assert sorted(outcomes) == ["0 of 5 taken", "1 of 6 left out"]


async def until_paid(app: App, order: UUID) -> None:
    """Wait for what was put aside to be gone."""
    with anyio.fail_after(10):
        while await aside(app):  # noqa: ASYNC110 - it is looked at, not told
            await anyio.sleep(0.02)


async def test_a_source_that_loses_a_connection_hands_out_again(app: App, source: MemorySource) -> None:
    """C1: what was taken and not acknowledged comes again, and takes no effect again."""
    order = new_id()
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    raw = paid(order)
    source.put(raw)
    await until(lambda: source.acknowledged == 1)
    source.put(raw)
    source.lose()
    await until(lambda: source.acknowledged == 2)
    assert await events_of(app, order) == ["OrderPlaced", "OrderPaid"]


async def test_what_cannot_be_put_aside_while_the_store_is_away_comes_again(
    app: App, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I2: the work ends with the store, and begins with what was not acknowledged."""
    append, failures = type(app.events).append, [StoreUnavailableError("it is away") for _ in range(2)]

    async def away(store: EventStore, request: Append) -> Appended:
        if request.beside is not None and request.beside.changes and failures:
            raise failures.pop()
        return await append(store, request)

    monkeypatch.setattr(type(app.events), "append", away)
    source.put(b"rubbish")
    await until(lambda: source.acknowledged == 1)
    assert not failures
    assert len(await aside(app)) == 1


class Stubborn(MemorySource):
    """A source whose driver takes a cancellation for the end of its wait, as `asyncio.wait_for` may."""

    asked = swallowed = 0

    async def fetch(self, most: int, seconds: float) -> Sequence[Incoming]:
        """Wait, and go on as if nobody had wanted it to end."""
        self.asked += 1
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.swallowed += 1
        return ()


async def test_a_driver_that_swallows_a_cancellation_does_not_keep_the_app_from_stopping() -> None:
    """P5: the lane is let go of, and the app ends."""
    source = Stubborn()
    app = App("memory:")
    app.include(shop())
    app.consume(inbox(source, []))
    async with app:
        await until(lambda: source.asked)
    assert source.swallowed == 1


async def test_fields_that_were_added_since_are_left_out(app: App, source: MemorySource, taken: list[int]) -> None:
    """Who publishes may add some: each message was put aside."""
    order = new_id()
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    source.put(paid(order).replace(b'"amount":5', b'"amount":5,"currency":"EUR"'))
    await until(lambda: source.acknowledged == 1)
    assert await events_of(app, order) == ["OrderPlaced", "OrderPaid"]
    assert taken == [5]


@pytest.mark.parametrize("name", ["specversion", "id", "type", "source", "time"])
def test_what_a_message_lacks_is_named(name: str) -> None:
    envelope = json.loads(paid(new_id()))
    del envelope[name]
    with pytest.raises(MessageDecodeError, match=f"it has no {name}"):
        decode(json.dumps(envelope).encode())


class Note(Command):
    """What a payment leads to, in a service whose handlers hang."""

    order_id: UUID


async def test_a_command_that_hangs_is_stopped_tried_again_and_put_aside(source: MemorySource) -> None:
    """P7: it held up every message after it."""
    bank, app, order = Inbox("bank", source, timeout=timedelta(milliseconds=100)), App("memory:"), new_id()
    tried: dict[UUID, int] = {}

    @bank.message
    def received(event: PaymentReceived) -> Note:
        return Note(order_id=event.order_id)

    @app.command_handler
    async def note(command: Note) -> None:
        tried[command.order_id] = tried.get(command.order_id, 0) + 1
        if command.order_id != order or tried[order] == 1:
            await asyncio.Event().wait()

    app.consume(bank)
    async with app:
        source.put(paid(new_id()))
        source.put(paid(order))
        await until(lambda: source.acknowledged == 2)
        (task,) = await aside(app)
    assert "it ran for more than 0.1 s" in task.error
    assert tried.pop(order) > 1
    assert list(tried.values()) == [5]


@pytest.mark.parametrize("timeout", [timedelta(), timedelta(seconds=-1), 5])
def test_an_inbox_that_waits_for_nothing_is_refused(source: MemorySource, timeout: Any) -> None:
    with pytest.raises(TypeError, match="write a timedelta above 0"):
        Inbox("bank", source, timeout=timeout).read()


async def test_a_function_that_makes_no_command_is_named(source: MemorySource) -> None:
    bank = Inbox("bank", source)

    @bank.message
    def received(event: PaymentReceived) -> PayOrder:
        return event.amount  # type: ignore[return-value]

    app = App("memory:")
    app.include(shop())
    app.consume(bank)
    async with app:
        source.put(paid(new_id()))
        await until(lambda: source.acknowledged == 1)
        (parked,) = await aside(app)
    assert parked.error == "ProgrammingError: received made 5, which is no command. Mend it."


@pytest.mark.parametrize(
    "wrong",
    [{"id": "2026/117"}, {"id": None}, {"correlation_id": "x"}, {"causation_id": 5}],
    ids=lambda wrong: str(*wrong.values()),
)
async def test_an_id_that_is_no_uuid_does_not_get_into_the_log(source: MemorySource, wrong: dict[str, Any]) -> None:
    """L8, I2: what reads messages is not checked, and an event that was caused by it could never be read again."""
    bank, app = Inbox("bank", source, decode=lambda incoming: decode(incoming.raw)._replace(**wrong)), App("memory:")
    order = new_id()

    @bank.message
    def received(event: PaymentReceived) -> PayOrder:
        return PayOrder(order_id=event.order_id)

    app.include(shop())
    app.consume(bank)
    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        source.put(paid(order))
        await until(lambda: source.acknowledged == 1)
        assert await events_of(app, order) == ["OrderPlaced"]
        (parked,) = await aside(app)
    assert f"ValueError: {next(iter(wrong))} is no UUID" in parked.error


@pytest.mark.parametrize("ends", [SystemExit(3), KeyError("id")], ids=["exits", "raises"])
async def test_what_reads_messages_may_not_end_the_process(source: MemorySource, ends: BaseException) -> None:
    """I2: whoever was started again would have read the same message."""

    def read(incoming: Incoming) -> IntegrationMessage:
        if incoming.raw == b"poison":
            raise ends
        return decode(incoming.raw)

    bank, app, order = Inbox("bank", source, decode=read), App("memory:"), new_id()

    @bank.message
    def received(event: PaymentReceived) -> PayOrder:
        return PayOrder(order_id=event.order_id)

    app.include(shop())
    app.consume(bank)
    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        source.put(b"poison")
        source.put(paid(order))
        await until(lambda: source.acknowledged == 2)
        assert await events_of(app, order) == ["OrderPlaced", "OrderPaid"]
        (parked,) = await aside(app)
    assert type(ends).__name__ in parked.error


async def test_just_after_a_start_messages_are_waited_for(
    source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane was claimed, nobody had asked the broker yet, and it was said that no message waits."""
    app, began, order, work = App("memory:"), asyncio.Event(), new_id(), Keeper._work
    app.include(shop())
    app.consume(inbox(source, []))

    async def held(keeper: Keeper, of_lane: Work) -> None:
        await began.wait()
        await work(keeper, of_lane)

    monkeypatch.setattr(Keeper, "_work", held)
    async with app:
        source.put(paid(order))
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        with pytest.raises(StaleReadError, match="bank"):
            await app.settled(0.2)
        began.set()
        await app.settled()
        assert source.acknowledged == 1
