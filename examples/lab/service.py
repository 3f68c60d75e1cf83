"""The order service as a lab runs it, and as the commands of a lab look at it: parcels too, and shorter times."""

import asyncio
import logging
import signal
from pathlib import Path

from diptych import App
from diptych.app.tuning import Tuning
from diptych.app.watching import Rounds
from diptych.subscriptions.reading import Pace
from examples.lab import parcels
from examples.orders.main import SLICES


def make_app(url: str, folder: Path, limit: float) -> App:
    """Put the service together as the files of the lab's folder say: `release`, `fault`.

    `limit`: seconds that a projection may be behind, and after which a silent worker counts as gone.
    """
    release, fault = folder / "release", folder / "fault"
    chosen = parcels.RELEASES[release.read_text().strip() if release.exists() else "2"]
    chosen.fault = fault
    tuning = Tuning(
        lag_limit=limit,
        pace=Pace(page_events=100, lease=limit),
        rounds=Rounds(every=limit / 5, update_after=limit),
    )
    app = App(url, mode="production", on_change="freeze", tuning=tuning)
    for part in SLICES:
        app.include(part.module)
    app.include(parcels.module)
    app.project(chosen)
    return app


def work(app: App) -> None:
    """Be one more worker until SIGTERM."""

    logging.getLogger("diptych").setLevel(logging.CRITICAL)  # the lab shows what is wrong

    async def stay() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with app:
            await stop.wait()

    asyncio.run(stay())
