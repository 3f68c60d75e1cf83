"""A process that dies at any point of an order's way: what follows of it is the same as if it had not (S1).

While one run goes on undisturbed, the files are copied before each of its appends: each copy is what a kill -9 leaves.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from diptych import App, IdempotencyKey, new_id
from diptych.sagas.row import saga_table
from diptych.sagas.stepped import SagaStepped
from diptych.store.protocols import Append, Appended
from diptych.stream import StreamName
from diptych.subscriptions.tasks import tasks_table
from tests.sagas.faults import Append_, on_append, rows
from tests.sagas.shop import AddStock, Fulfilment, OrderPlaced, OrderShipped, PayOrder, PlaceOrder, shop

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

ORDER, OTHER, PRODUCT = new_id(), new_id(), new_id()
STREAMS = [StreamName("", category, id) for id in (ORDER, OTHER) for category in ("Order", "Fulfilment")]
COMMANDS = [
    (new_id(), AddStock(product_id=PRODUCT, quantity=5)),
    (new_id(), PlaceOrder(order_id=ORDER, product_id=PRODUCT, quantity=2)),
    (new_id(), PlaceOrder(order_id=OTHER, product_id=new_id(), quantity=2)),
    (new_id(), PayOrder(order_id=ORDER)),
]
Receipts = set[tuple[str, IdempotencyKey]]


class Image(NamedTuple):
    """The files as they were, and the receipts that had been sent."""

    folder: Path
    receipts: Receipts


class Outcome(NamedTuple):
    """All that is left of a run, but for times and positions."""

    streams: dict[str, list[str]]
    steps: dict[str, list[tuple[str, str, str]]]
    sagas: dict[str, tuple[str, str, str]]
    undone: list[tuple[str, str]]
    receipts: Receipts


def made(folder: Path, receipts: Receipts) -> App:
    """The shop, with a saga and a reaction."""
    app = App(f"sqlite:///{folder}/shop.db")
    app.include(shop())
    app.saga(Fulfilment)

    @app.reaction
    async def send_receipt(event: OrderPlaced | OrderShipped, key: IdempotencyKey) -> None:
        receipts.add((type(event).__name__, key))

    return app


async def all_done(app: App) -> None:
    """Have customers send what they want, under the same ids if they do not know what became of it."""
    for id, command in COMMANDS:
        await app.commands.dispatch(type(command).model_validate(command.model_dump()), command_id=id)
    await app.settled(20)


async def outcome(app: App, receipts: Receipts) -> Outcome:
    """Look at what is left."""
    streams: dict[str, list[str]] = {}
    steps: dict[str, list[tuple[str, str, str]]] = {}
    for name in [*STREAMS, StreamName("", "Stock", PRODUCT)]:
        found = await app.events.read_stream(name)
        streams[str(name)] = [row.type for row in found]
        steps[str(name)] = [_told(event) for row in found if isinstance(event := app.codec.decode(row), SagaStepped)]
    sagas = {row.key: (row.status, row.state, row.error) for row in await rows(app, saga_table("Fulfilment"))}
    tables = [tasks_table("Fulfilment"), tasks_table("send_receipt")]
    undone = [(task.name, task.state) for table in tables for task in await rows(app, table, "state <> 'done'")]
    return Outcome(streams, steps, sagas, undone, receipts)


def _told(step: SagaStepped) -> tuple[str, str, str]:
    return f"{step.cause.kind} {step.cause.name}", " ".join(sent.command for sent in step.sent), step.status


async def images_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Image], Outcome]:
    """Run once, and keep what a death before each append would leave."""
    images, receipts, turn = list[Image](), Receipts(), asyncio.Lock()
    app = made(folder / "run", receipts)
    (folder / "run").mkdir()

    async def copied(one: Append, append: Append_) -> Appended:
        async with turn:
            image = folder / f"image {len(images)}"
            shutil.copytree(folder / "run", image)
            images.append(Image(image, set(receipts)))
            return await append(one)

    async with app:
        on_append(app, monkeypatch, copied)
        await all_done(app)
        monkeypatch.undo()
        return images, await outcome(app, receipts)


async def test_whatever_comes_of_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1, S4: before each append of customers, of what the saga sends, and of turns of its lanes and the reaction's."""
    images, undisturbed = await images_of(tmp_path, monkeypatch)
    order, stock = undisturbed.streams[str(STREAMS[0])], undisturbed.streams[str(StreamName("", "Stock", PRODUCT))]
    assert (order, stock) == (["OrderPlaced", "OrderPaid", "OrderShipped"], ["StockAdded", "StockReserved"])
    assert len(images) > 15
    different: list[tuple[int, Any]] = []
    for place, image in enumerate(images):
        async with made(image.folder, image.receipts) as app:
            await all_done(app)
            found = await outcome(app, image.receipts)
        if _comparable(found) != _comparable(undisturbed):
            different.append((place, found))
    assert different == []


def _comparable(one: Outcome) -> Any:
    """Steps of one saga may come in another order; ids of events made again, and so keys, are others."""
    steps = {name: sorted((cause, sent) for cause, sent, _ in told) for name, told in one.steps.items()}
    counts = sorted(name for name, _ in one.receipts)
    return one.streams, steps, one.sagas, one.undone, counts
