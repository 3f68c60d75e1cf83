"""rebuild: a million order events into a new generation of `order_summary`, by `diptych projection rebuild`.

In two processes and in one, from the shell's prompt to the swap, every row verified; beside the raw fold of W4, which
starts nothing and has one process.
"""

import asyncio
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks import rebuilt, shop
from benchmarks.generator import fold, log
from benchmarks.place import Place
from benchmarks.w04_catch_up import check, raw_catch_up
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload
from diptych.errors import StoreUnavailableError
from diptych.store.generations import Generation, Generations

_NAME = "order_summaries"
_ROOT = Path(__file__).parent.parent
_EVERY = 0.1  # seconds between two looks at the memory of the processes


def _count(scale: Scale) -> int:
    return scale.of(2500, 100_000, 1_000_000)


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """The command, beside nothing else; what it built is dropped before the next."""
    count = _count(scale)
    expected = fold(log(count))
    await shop.fill(place.url, log(count))
    async with shop.shop(place.url) as app:
        await app.caught_up(timeout=600)

    async def rebuild(jobs: int) -> Run:
        run = await _rebuild(place, jobs)
        check(expected, await place.rows())
        await _tidy(place)
        return run

    async def measure() -> Figures:
        alone, together = await rebuild(1), await rebuild(2)
        return {
            "build": count / together.building,
            "alone": count / alone.building,
            "all": count / together.taken,
            "busy": alone.busy,
            "speed-up": alone.building / together.building,
            "memory": alone.memory[-1],
            "growth": alone.memory[-1] / alone.memory[len(alone.memory) // 2],
        }

    yield measure


class Run(NamedTuple):
    """Seconds from the prompt to the swap, and of them those of building; MB that its largest process had so far.

    `busy` are the cores of the machine that had work, on average: what a second process can win is what is idle.
    """

    taken: float
    building: float
    memory: Sequence[float]
    busy: float


async def _rebuild(place: Place, jobs: int) -> Run:
    """Type it, and see how it goes on."""
    words = ["projection", "rebuild", _NAME, "--yes", "--no-compare", "--jobs", str(jobs), "--app", rebuilt.__file__]
    environment = {**os.environ, "BENCH_URL": place.url}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    begun, before = time.perf_counter(), _worked()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "diptych.cli", *words, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=environment
    )
    told: list[tuple[str, float]] = []
    telling = asyncio.create_task(_told(process, told))
    memory = [0.0]
    while not telling.done():
        memory.append(max(memory[-1], _megabytes(process)))
        await asyncio.wait((telling,), timeout=_EVERY)
    if await process.wait():
        raise SystemExit(f"the rebuild ended with {process.returncode}: {told[-1:]}")
    at = {line.partition(" ")[0]: seconds for line, seconds in told}
    taken = time.perf_counter() - begun
    return Run(taken, at.get("build", at["catch"]) - at["begin"], memory, (_worked() - before) / taken)


def _worked() -> float:
    """Seconds that the machine's cores have worked since it started, all of them together; 0 where nobody counts."""
    try:
        words = Path("/proc/stat").read_text().split(maxsplit=9)
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq = map(int, words[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


async def _told(process: Process, told: list[tuple[str, float]]) -> None:
    """Note each line that it says, and when."""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        told.append((line.decode(), time.perf_counter()))


def _megabytes(process: Process) -> float:
    """The most that this process, or one that it started, had at once."""
    pids = [process.pid]
    with suppress(OSError):
        pids += map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    found = [0.0]
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return max(found)


async def _tidy(place: Place) -> None:
    async with shop.shop(place.url) as app:
        for one in await app.views.generations.all():
            if one.state == "kept":
                await _drop(app.views.generations, one)


async def _drop(generations: Generations, one: Generation) -> None:
    """A server that looks after the new table by itself may have it for a moment."""
    for pause in (1, 2, 4, 8, 16):
        try:
            return await generations.drop(one.projection, one.number)
        except StoreUnavailableError:
            await asyncio.sleep(pause)
    raise SystemExit(f"generation {one.number} cannot be dropped: somebody uses it")


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """The raw fold of W4 over as many events."""
    async with raw_catch_up(place, _count(scale)) as catch_up:

        async def measure() -> Figures:
            events = (await catch_up())["events"]
            return {"build": events, "alone": events, "all": events}

        yield measure


WORKLOADS = (
    Workload(
        "rebuild",
        "a million events into a new generation, from the shell",
        (
            Goal("build", "per s, two processes", better="higher"),
            Goal("alone", "per s, one process", better="higher"),
            Goal("all", "per s, from the prompt to the swap", better="higher"),
            Goal("busy", "cores, by one process"),
            Goal("speed-up", "by the second process", better="higher"),
            Goal("memory", "MB at most"),
            Goal("growth", "of the memory in the second half", 1.5, kind="absolute"),
        ),
        diptych,
        twin,
    ),
)
