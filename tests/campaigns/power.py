"""Appends on a disk that remembers, the power cut at any step, and every image opened and judged."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import apsw

from diptych.store.protocols import StoreSettings
from tests.campaigns import workload_bank
from tests.campaigns.client import Client, InMemory, new_event, stream_name, whole_log
from tests.campaigns.disk import Disk, recording
from tests.campaigns.history import ANY_VERSION, NEVER, History, Operation, Violation, violations
from tests.campaigns.stores import sqlite_store


class _Timed(InMemory):
    """Notes which step of the disk was the last before each answer."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self.answered: dict[int, int] = {}
        self._disk = disk

    def ended(self, operation: Operation) -> None:
        """Its answer came now."""
        self.answered[id(operation)] = len(self._disk.steps)


class PowerCut:
    """One run of appends, recorded, with all the images it may leave."""

    def __init__(self, folder: Path, settings: StoreSettings, appends: int) -> None:
        with recording(folder) as self.disk:
            self._recorder = _Timed(self.disk)
            asyncio.run(_append_all(folder, settings, self._recorder, appends))
        self._folder = folder

    def image(self, steps: int, random: Random) -> list[Violation]:
        """Cut after so many steps, open what is left, and say what it breaks."""
        with tempfile.TemporaryDirectory(prefix="diptych-power-") as name:
            for path, content in self.disk.image(steps, random).items():
                (Path(name) / Path(path).name).write_bytes(content)
            history = History(self._known(steps))
            asyncio.run(_read_back(Path(name), history))
            return violations(history)

    def _known(self, steps: int) -> list[Operation]:
        """The operations as the clients knew them when the power went."""
        answered = self._recorder.answered
        return [
            operation
            if answered[id(operation)] <= steps
            else replace(operation, position=0, versions=(), finished=NEVER, outcome="unknown")
            for operation in self._recorder.operations
        ]


async def _append_all(folder: Path, settings: StoreSettings, recorder: _Timed, appends: int) -> None:
    """Groups of one to four appends on few streams."""
    store = sqlite_store(folder / "shop.db", settings)
    await store.open()
    random, client = Random(0), Client("c", store, recorder)
    done = 0
    while done < appends:
        group = random.randrange(1, 5)
        await asyncio.gather(*(_append(client, random, done + number) for number in range(group)))
        done += group
    await store.close()


async def _append(client: Client, random: Random, number: int) -> Operation:
    events = [new_event(random) for _ in range(random.choice([1, 2, 3]))]
    return await client.append([(stream_name(number % 7), ANY_VERSION, events)])


async def _read_back(folder: Path, history: History) -> None:
    store = sqlite_store(folder / "shop.db")
    await store.open()
    try:
        history.log = await whole_log(store)
    finally:
        await store.close()
    connection = apsw.Connection(str(folder / "shop.db"))
    try:
        assert connection.pragma("integrity_check") == "ok"
    finally:
        connection.close()


class BankPowerCut:
    """The same for a whole app: the events file with FULL, the views file with NORMAL."""

    def __init__(self, folder: Path) -> None:
        answers: list[tuple[int, str]] = []
        with recording(folder) as self.disk:
            told = workload_bank.dispatch_all(folder, lambda line: answers.append((len(self.disk.steps), line)))
            asyncio.run(told)
        self._answers = answers

    def image(self, steps: int, random: Random) -> str:
        """Cut after so many steps, start what is left, send everything again. :raises AssertionError:"""
        with tempfile.TemporaryDirectory(prefix="diptych-power-") as name:
            for path, content in self.disk.image(steps, random).items():
                (Path(name) / Path(path).name).write_bytes(content)
            told = "".join(line for at, line in self._answers if at <= steps)
            (Path(name) / "answers").write_text(told)
            return asyncio.run(workload_bank.check(Path(name)))


def cut_everywhere(
    folder: Path, settings: StoreSettings, images: int, seed: int, broken: Callable[[list[Violation]], None]
) -> int:
    """Cut at random steps as often as asked, and hand over what each image breaks. Returns how many steps there are."""
    run = PowerCut(folder, settings, appends=60)
    random = Random(seed)
    for _ in range(images):
        broken(run.image(random.randrange(len(run.disk.steps) + 1), random))
    return len(run.disk.steps)
