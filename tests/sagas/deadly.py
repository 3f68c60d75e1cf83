"""A service whose code ends the process, and what it takes to start it again and again in processes of their own.

Run as a program it works on what its store owes until all is done, or until it ends in the middle of it.
"""

import asyncio
import os
import sys
from pathlib import Path
from uuid import UUID

from diptych import App, Command, Saga, Steps, new_id, on, step
from diptych.app.tuning import Tuning
from diptych.reactions.inbox import Inbox
from diptych.reactions.source import Incoming, MemorySource
from diptych.subscriptions.reading import Pace
from tests.reactions.test_inbox import PaymentReceived
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop

ROOT = Path(__file__).parents[2]
DEADLY = 13
_DIED = 3


class Packing(Steps):
    """One call, which ends the process if so many are wanted."""

    quantity: int = 0

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        self.quantity = event.quantity

    @step
    async def pack(self) -> None:
        """Pack them."""
        end_if_deadly(self.quantity)

    @pack.undo
    async def unpack(self) -> None:
        """Put them back."""


class Counting(Saga):
    """Takes one event, and ends the process at some."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        end_if_deadly(event.quantity - 1)


class Note(Command):
    """What a payment leads to."""

    order_id: UUID
    amount: int


def end_if_deadly(number: int) -> None:
    """End the process as a library does that breaks: nothing of it is said to anybody."""
    if number == DEADLY:
        os._exit(_DIED)


def add(file: Path, number: int) -> None:
    """Write down that it was tried."""
    with file.open("a") as opened:
        opened.write(f"{number}\n")


class Broker(MemorySource):
    """Messages in a file, one a line: those that were never acknowledged are there again after each start."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._done = folder / "acknowledged"
        known = self._done.read_text().split() if self._done.exists() else []
        lines = (folder / "messages").read_text().splitlines() if (folder / "messages").exists() else []
        for number, line in enumerate(lines):
            if str(number) not in known:
                self.put(line.encode(), str(number))
        self.to_come = len(lines) - len(known)

    async def done(self, incoming: Incoming) -> None:
        """Have it not come again."""
        await super().done(incoming)
        with self._done.open("a") as file:
            file.write(f"{incoming.id} ")


def made(url: str, folder: Path, *, is_worker: bool = True) -> tuple[App, Broker]:
    """The shop, with a reaction, a saga and an inbox that do not come back from some orders."""
    app, broker = App(url, tuning=Tuning(pace=Pace(lease=0.5), runs_projections=is_worker)), Broker(folder)
    app.include(shop())
    app.saga(Packing)
    app.saga(Counting)

    @app.reaction(begins="beginning")
    async def receipt(event: OrderPlaced) -> None:
        add(folder / "tried", event.quantity)
        end_if_deadly(event.quantity)

    bank = Inbox("bank", broker)

    @bank.message
    def received(event: PaymentReceived) -> Note:
        return Note(order_id=event.order_id, amount=event.amount)

    @app.command_handler
    async def note(command: Note) -> None:
        await asyncio.to_thread(add, folder / "noted", command.amount)
        end_if_deadly(command.amount)

    app.consume(bank)
    return app, broker


async def deaths(url: str, folder: Path, most: int = 12) -> int:
    """Start the service again and again until it lives to do all it can; return how often it ended."""
    for died in range(most):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.sagas.deadly", url, str(folder), cwd=ROOT
        )
        if (code := await process.wait()) != _DIED:
            assert code == 0
            return died
    raise AssertionError(f"it ended {most} times, and would go on so")


async def place(url: str, folder: Path, quantities: list[int]) -> None:
    """Place orders, before anybody works on them."""
    app, _ = made(url, folder, is_worker=False)
    async with app:
        for quantity in quantities:
            await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=quantity))


async def _work(url: str, folder: Path) -> None:
    app, broker = made(url, folder)
    async with app:
        await app.settled(20)
        async with asyncio.timeout(20):
            leases = app.events.inline.leases
            while broker.acknowledged < broker.to_come or (await leases.board()).requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], Path(sys.argv[2])))
