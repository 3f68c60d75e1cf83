"""`./run demo`: the order service with customers in it; `--import FILE` plays real orders instead."""

import argparse
import asyncio
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from rich.console import Console

from diptych import App, DiptychError
from examples.demo import counting, paying, talk
from examples.demo.files import default_url, place_of, server_of_its_own
from examples.demo.importing import customer_id, order_id
from examples.demo.lines import FileError
from examples.demo.play_file import play_file
from examples.demo.players import Shop
from examples.demo.screen import Screen
from examples.demo.server import HOST, USUAL_PORT, PortTakenError, serving
from examples.demo.tally import Tally
from examples.demo.traffic import Traffic
from examples.lab import run as lab
from examples.lab.breaking import SCENARIOS
from examples.lab.lab import Choices
from examples.orders.main import make_api, make_app
from examples.orders.provider import provider_at

_PATIENCE = 60.0  # seconds for what was paid to end


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument("--seconds", type=_amount, default=30, help="how long the customers stay (30)")
    parser.add_argument("--serve", action="store_true", help="go on serving the API until Ctrl-C")
    parser.add_argument(
        "--import", dest="file", type=Path, metavar="FILE", help="play a CSV file of order lines, .gz too"
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="sqlite:///FILE, memory:, postgresql://..., or the word postgresql: a server of its own, gone at the end "
        "(demo-data/orders.db)",
    )
    parser.add_argument("--port", type=_count, help="local port of the API (8000, or any free one)")
    parser.add_argument("--players", type=_count, default=12, help="how many customers (12)")
    parser.add_argument(
        "--pause", type=_amount, default=0.1, help="seconds a customer thinks between two requests (0.1)"
    )
    parser.add_argument(
        "--pay", action="store_true", help="some customers pay in advance, to a provider that often fails"
    )
    parser.add_argument("--seed", type=int, default=1, help="what the customers choose (1)")
    parser.add_argument(
        "--break", dest="broken", choices=SCENARIOS, help="break this one thing, in a place of its own, and show it"
    )
    parser.add_argument("--auto", action="store_true", help="with --break: mend it, too")
    parser.add_argument(
        "--limit",
        type=_span,
        default=5.0,
        help="with --break: seconds that a projection may lag, and a worker be silent (5)",
    )
    given = parser.parse_args(arguments)
    if given.broken and (given.file or given.serve):
        parser.error("--break goes neither with --import nor with --serve")
    if given.pay and (given.broken or given.file):
        parser.error("--pay goes neither with --import nor with --break")
    if not given.seconds and not given.serve and not given.file:
        parser.error("--seconds 0 plays nothing: add --serve, or --import FILE")
    return given


def _amount(text: str) -> float:
    if not 0 <= (number := float(text)) < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return number


def _span(text: str) -> float:
    if not 0.5 <= (number := float(text)) <= 60:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.5 and 60")
    return number


def _count(text: str) -> int:
    if not 1 <= (number := int(text)) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 65,535")
    return number


class Demonstration:
    """One run: the app, then a file or traffic, then a summary."""

    def __init__(self, given: argparse.Namespace, console: Console) -> None:
        self._given, self._console = given, console
        self._url: str = given.database or default_url()
        self._is_kept = not self._url.startswith("memory:")
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Do what was asked for and return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end, number)
        async with paying.open_bank(self._given.pay, self._given.seed) as bank:
            with server_of_its_own(self._url) as url:
                self._is_kept = self._is_kept and url == self._url
                app = make_app(url, bank and provider_at(bank.url), mailer=paying.Letters)
                app.include(counting.module)
                async with app:
                    return await (self._play_file(app) if self._given.file else self._play_traffic(app, bank))

    def _end(self, number: int) -> None:
        """End soon; the second Ctrl-C ends at once."""
        self._stop.set()
        logging.getLogger("uvicorn.error").disabled = True  # it would tell of the second one with a stack trace
        asyncio.get_running_loop().remove_signal_handler(number)

    async def _play_file(self, app: App) -> int:
        playing = asyncio.create_task(play_file(app, self._given.file, self._console))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((playing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not playing.done():
            playing.cancel()
            await asyncio.wait((playing,))
            self._console.print("\nStopped. What was imported stays; the same command goes on from there.")
            return 130
        is_right, invoices = await playing
        order = next((i for i in invoices if not i.is_credit_note and i.lines[0].customer), invoices[0])
        await self._finish(app, str(order_id(order.number)), str(customer_id(order.lines[0].customer)))
        return 0 if is_right else 1

    async def _play_traffic(self, app: App, bank: paying.Bank | None) -> int:
        started, tally = monotonic(), Tally()
        async with serving(make_api(app), self._given.port) as port:
            url = f"http://{HOST}:{port}"
            screen = Screen(url, place_of(self._url))
            if not self._given.seconds:
                await self._finish(app, None, None, url)
                return 0
            shop = Shop(HOST, port, tally, self._given.pause, takes_money=bank is not None)
            traffic = Traffic(app, shop, screen, self._console)
            await traffic.run(self._given.players, self._given.seed, self._given.seconds, self._stop)
            await app.caught_up()
            talk.print_traffic(self._console, tally, await app.status(), monotonic() - started)
            if bank is not None:
                await app.settled(_PATIENCE)
                paying.print_bank(self._console, bank)
            await self._finish(app, tally.last_order, tally.last_customer, url)
        return 1 if tally.failures else 0

    async def _finish(self, app: App, order: str | None, customer: str | None, url: str | None = None) -> None:
        """Say where everything is, and serve on if that was asked for."""
        if self._given.serve and url is None:
            async with serving(make_api(app), self._given.port) as port:
                await self._finish(app, order, customer, f"http://{HOST}:{port}")
            return
        is_serving = self._given.serve and not self._stop.is_set()
        if not self._is_kept and not is_serving:
            where = "in memory" if self._url.startswith("memory:") else "on a server of the demonstration's own"
            self._console.print(f"\nAll of it was {where}, and is gone.")
            return
        url = url or f"http://{HOST}:{self._given.port or USUAL_PORT}"
        if order and customer:
            again = None if is_serving else self._again(url)
            talk.print_next(self._console, place_of(self._url), talk.requests_to_try(url, order, customer), again)
        if is_serving:
            self._console.print(f"\nServing [bold]{url}/docs[/] until Ctrl-C.")
            await self._stop.wait()

    def _again(self, url: str) -> str:
        """The command that serves this data under this address."""
        port, database = url.rpartition(":")[2], self._given.database
        options = ["--port", port] if port != str(USUAL_PORT) else []
        options += ["--database", database] if database else []
        return shlex.join(["./run", "demo", "--serve", "--seconds", "0", *options])


def main() -> int:
    """Run the demonstration; say in a sentence why it could not."""
    given = options()
    is_watched = sys.stdout.isatty()
    console = Console(highlight=False, soft_wrap=not is_watched, width=None if is_watched else 120)
    try:
        if given.broken:
            choices = Choices(given.auto, given.port, given.players, given.seed, given.pause)
            return asyncio.run(lab.run(given.broken, given.database, given.limit, choices, console))
        return asyncio.run(Demonstration(given, console).run())
    except (FileError, PortTakenError, DiptychError) as error:
        if is_watched:
            console.print(talk.trouble(str(error)))
        else:
            print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
