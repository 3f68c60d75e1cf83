"""Rebuilds beside a service at full load, killed at random and started again, until they are swapped in."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from diptych import App, Receipt
from diptych.clock import id_for
from diptych.errors import StoreUnavailableError
from diptych.store.generations import Generation
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName
from tests.campaigns import baskets
from tests.campaigns.baskets import CountBaskets, GetBasket, Opened, PutIn, PutInBasket

_ROOT: Final = Path(__file__).parents[2]
_LONGEST: Final = 60.0  # seconds that a rebuild which nobody kills may take
_PER_STORE: Final = 10  # rounds, after which the log is long enough


class Outcome(NamedTuple):
    """What a round did: how often it was killed, and what was asked of the service meanwhile."""

    kills: int
    interrupts: int
    commands: int
    queries: int
    seconds: float

    def __str__(self) -> str:
        """Say it in a line."""
        counts = f"{self.kills} kills, {self.interrupts} interrupts, {self.commands} commands, {self.queries} queries"
        return f"{counts}, {self.seconds:.1f} s"


class Load:
    """Commands and queries as fast as they go, in the process of the service."""

    def __init__(self, app: App, baskets: int, seed: int) -> None:
        """`baskets`: how many there are already."""
        self._app, self._baskets, self._random = app, baskets, Random(seed)
        self.commands = self.queries = 0
        self._last: Receipt[Any] | None = None
        self._known = [_id(number) for number in range(50)]

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Go on until the block ends. Whatever fails comes out of it."""
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for work in (self._write, self._write, self._count, self._read_its_own):
                group.create_task(self._until(is_over, work))
            try:
                yield
            finally:
                is_over.set()

    async def _until(self, is_over: asyncio.Event, work: Any) -> None:
        while not is_over.is_set():
            await work()
            await asyncio.sleep(0)

    async def _write(self) -> None:
        random = self._random
        id = uuid4() if random.random() < 0.3 else random.choice(self._known)
        command = PutInBasket(basket_id=id, product=f"thing {random.randrange(9)}", quantity=random.randrange(1, 5))
        receipt = await self._app.commands.dispatch(command)
        if self._last is None or receipt.position > self._last.position:  # two write, and who was first may hear later
            self._last = receipt
        self._known[random.randrange(len(self._known))] = id
        self.commands += 1

    async def _count(self) -> None:
        count = await self._app.queries.dispatch(CountBaskets())
        assert count >= self._baskets, f"{count} baskets are read of over {self._baskets}: a table was not whole"
        self.queries += 1

    async def _read_its_own(self) -> None:
        """R1: never stale, while what is read stands for a moment, and right after a swap."""
        if self._last is not None:
            id = self._known[self._random.randrange(len(self._known))]
            await self._app.queries.dispatch(GetBasket(basket_id=id), after=self._last, within=20)
            self.queries += 1


def _id(number: int) -> UUID:
    return id_for("basket", str(number))


async def _fill(app: App, baskets: int) -> None:
    """Make a log that takes a while to build from."""
    encode = app.codec.encode
    for first in range(0, baskets, 400):
        writes = [
            StreamWrite(
                StreamName("", "Basket", _id(number)),
                ANY,
                [encode(Opened(owner="somebody")), encode(PutIn(product=f"thing {number % 9}", quantity=number % 5))],
            )
            for number in range(first, min(first + 400, baskets))
        ]
        await app.events.append(Append(writes))


class Rebuilder:
    """`diptych projection rebuild` in a process of its own."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self._name, self._environment = name, environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it."""
        words = ["projection", "rebuild", self._name, "--yes", "--app", str(baskets.PATH)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "diptych.cli", *words, cwd=_ROOT, env=self._environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

    async def ended(self, seconds: float) -> tuple[int, str] | None:
        """Return its code and what it said; None if it goes on for longer."""
        assert self._process is not None
        assert self._process.stdout is not None
        reading = asyncio.ensure_future(self._process.stdout.read())
        try:
            async with asyncio.timeout(seconds):
                said = await asyncio.shield(reading)
        except TimeoutError:
            reading.cancel()
            return None
        return await self._process.wait(), said.decode()

    async def interrupt(self) -> None:
        """Interrupt it, and see that it says how to go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        code, said = await self.ended(_LONGEST) or (None, "nothing")
        assert code in (0, 130, -signal.SIGINT, 1), said

    async def kill(self, random: Random) -> None:
        """Kill it, or one of the processes that it has started."""
        assert self._process is not None
        children = _children(self._process.pid)
        if children and random.random() < 0.5:
            os.kill(random.choice(children), signal.SIGKILL)
            code, said = await self.ended(_LONGEST) or (None, "nothing")
            assert code in (0, 2), said
            return
        self._process.kill()
        await self._process.wait()


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Service:
    """The service on one store, with what it noted of its effects."""

    def __init__(self, app: App, url: str, baskets: int, effects: Path) -> None:
        self.app, self._baskets, self._effects = app, baskets, effects
        self._environment = {**os.environ, "BASKETS_URL": url, "BASKETS_EFFECTS": str(effects)}
        self._environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT / "src"), str(_ROOT)])

    async def round(self, random: Random, name: str) -> Outcome:
        """Rebuild one projection under load, killed at random; and judge. :raises AssertionError:"""
        began, before = time.monotonic(), await self._live(name)
        load, rebuilder = Load(self.app, self._baskets, random.randrange(2**32)), Rebuilder(name, self._environment)
        kills, interrupts = random.choice([0, 1, 1, 2]), 0
        async with load.going():
            for _ in range(kills):
                await rebuilder.start()
                if await rebuilder.ended(random.uniform(0.3, 3.0)) is not None:
                    break  # it was faster
                if random.random() < 0.25:
                    interrupts += 1
                    await rebuilder.interrupt()
                else:
                    await rebuilder.kill(random)
            await rebuilder.start()
            ended = await rebuilder.ended(_LONGEST)
            assert ended is not None, "the rebuild hangs"
            assert ended[0] == 0, ended[1]
        await self._judge(name, before, ended[1])
        return Outcome(kills, interrupts, load.commands, load.queries, time.monotonic() - began)

    async def _judge(self, name: str, before: Generation, said: str) -> None:
        live = await self._live(name)
        assert live.number > before.number
        assert f"{name} is read from generation {live.number}." in said, said
        states = [one.state for one in await self.app.views.generations.all(name)]
        assert "building" not in states, "a rebuild is left half-way"
        assert not (await self.app.views.leases.board()).paused
        await self.app.caught_up(_LONGEST)
        assert await self._rows() == await self._folded(), f"{name} is not what the log makes (P3)"
        others = [line for line in self._effects.read_text().splitlines() if not line.startswith(f"{os.getpid()} ")]
        assert others == [], "a rebuild had an effect (P9)"
        await self._tidy(name)

    async def _live(self, name: str) -> Generation:
        return next(one for one in await self.app.views.generations.all(name) if one.state == "live")

    async def _rows(self) -> tuple[dict[UUID, tuple[str, int]], dict[str, int]]:
        async with self.app.views.reader() as session:
            rows = await session.select("SELECT id, owner, items FROM basket_row", {})
            sold = await session.select("SELECT product, sold FROM product_row", {})
        made = [(UUID(str(id)), (owner, items)) for id, owner, items in rows.rows]
        return dict(made), {product: count for product, count in sold.rows}  # noqa: C416 - of typed pairs

    async def _folded(self) -> tuple[dict[UUID, tuple[str, int]], dict[str, int]]:
        """The rows, computed in the plainest way."""
        rows: dict[UUID, tuple[str, int]] = {}
        sold: dict[str, int] = {}
        after = 0
        while (page := await self.app.events.read_log(after=after, limit=2000)).events:
            for stored in page.events:
                id, event = UUID(stored.stream_id), self.app.codec.decode(stored)
                if isinstance(event, Opened):
                    rows[id] = (event.owner, 0)
                elif isinstance(event, PutIn):
                    owner, items = rows[id]
                    rows[id] = (owner, items + event.quantity)
                    sold[event.product] = sold.get(event.product, 0) + event.quantity
            after = page.scanned
        return rows, sold

    async def _tidy(self, name: str) -> None:
        """Drop what was kept, as a day would."""
        for one in await self.app.views.generations.all(name):
            if one.state == "kept":
                await _patiently_dropped(self.app, one)


async def _patiently_dropped(app: App, one: Generation) -> None:
    over = time.monotonic() + _LONGEST
    while True:
        try:
            return await app.views.generations.drop(one.projection, one.number)
        except StoreUnavailableError:  # in use; nobody is made to wait for that
            assert time.monotonic() < over
            await asyncio.sleep(0.1)


@asynccontextmanager
async def serving(url: str, before: int) -> AsyncIterator[Service]:
    """Run the service over a store that is filled first."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        effects = Path(folder) / "effects"
        effects.touch()
        os.environ["BASKETS_EFFECTS"] = str(effects)
        app = await stack.enter_async_context(baskets.service(url))
        await _fill(app, before)
        await app.caught_up(_LONGEST)
        yield Service(app, url, before, effects)


async def rebuild_under_load(
    url: str, rounds: int, random: Random, *, before: int = 4000, tell: Callable[[str], object] = lambda _: None
) -> list[Outcome]:
    """So many rounds over one store, of either projection; `before`: how many baskets there are at first."""
    done: list[Outcome] = []
    async with serving(url, before) as service:
        for number in range(rounds):
            done.append(await service.round(random, ("baskets", "products")[number % 2]))
            tell(f"  {done[-1]}")
    return done


def stores_for(rounds: int) -> list[int]:
    """Divide rounds over stores, each new, so that no log grows for ever."""
    return [min(_PER_STORE, rounds - first) for first in range(0, rounds, _PER_STORE)]
