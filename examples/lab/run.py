"""`./run demo --break NAME`: plays one lab from beginning to end."""

import asyncio
import logging
import signal
import sys

from rich.console import Console

from examples.demo.files import server_of_its_own
from examples.lab.breaking import SCENARIOS
from examples.lab.lab import Choices, EndedError, Lab, NotSoError
from examples.lab.place import place_for


async def run(name: str, url: str | None, limit: float, choices: Choices, console: Console) -> int:
    """Play a lab; the exit code is 0 when all is well again, 1 when something did not become so, 130 when interrupted.

    :raises ConfigurationError: there is no place for it.
    """
    logging.getLogger("diptych").setLevel(logging.CRITICAL)  # what is wrong is shown otherwise
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with server_of_its_own(url or "") as server, place_for(name, server or None, limit) as place:
        try:
            await _play(name, Lab(place, choices, console, stop))
        except EndedError:
            console.print("\nEnded. What was broken stays so; the same command makes everything anew.")
            return 130
        except NotSoError as error:
            print(error, file=sys.stderr)
            return 1
    console.print(f"\n[bold green]All is well.[/] The data is in [bold]{place.folder}[/].")
    return 0


async def _play(name: str, lab: Lab) -> None:
    try:
        await SCENARIOS[name](lab)
    except ExceptionGroup as group:  # of the tasks that are the server and the customers
        raise _cause(group) from group


def _cause(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _cause(first) if isinstance(first, ExceptionGroup) else first
