"""One poisonous event among many: what is applied, what says so, and what comes of mending it or leaving it out.

The handler raises, hangs, or ends the process on it, while events come, or while the projection is built again.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, NamedTuple

import anyio
import httpx
from fastapi import FastAPI

from diptych import App, Query
from diptych.app.operating import operating
from diptych.errors import BuildStoppedError, StaleReadError
from diptych.projections.rebuilding import Rebuild, build_here
from diptych.read.models import ReadModel, table_of
from diptych.store.leases import Board, Request
from diptych.stream import token
from diptych.web import install
from tests.campaigns.crew import PATIENCE, Crew, crew
from tests.campaigns.jars import (
    ENDED,
    PACE,
    Code,
    Fault,
    GetJar,
    GetSort,
    Harm,
    JarRow,
    Kind,
    ReportRow,
    SortRow,
    Spoonful,
    app_of,
    fill,
    folded,
    spoonfuls,
)

Where = Literal["live", "rebuild"]
End = Literal["retry", "skip"]
EVENTS: Final = 200
HANDLER_SECONDS: Final = 1.0
_STOPPED: Final = 4  # how a rebuild ends that an event stops
_MODELS: Final[Mapping[Kind, tuple[type[ReadModel], str]]] = {
    "jars": (JarRow, "id"),
    "sorts": (SortRow, "sort"),
    "reports": (ReportRow, "id"),
}


class Case(NamedTuple):
    """Which projection, what happens at which of how many events, when, and how it is ended."""

    kind: Kind
    harm: Harm
    where: Where
    end: End
    position: int
    events: int = EVENTS

    @property
    def is_isolated(self) -> bool:
        """Whether it parks."""
        return self.kind == "jars"


class Labour(NamedTuple):
    """What a process that works is told."""

    url: str
    file: Path
    code: Code
    handler_seconds: float


def work(labour: Labour) -> None:
    """Work on the projections until ended."""
    Fault.file = labour.file

    async def run() -> None:
        async with app_of(labour.url, labour.code, is_worker=True, handler_seconds=labour.handler_seconds):
            await asyncio.Event().wait()

    asyncio.run(run())


def rebuild(labour: Labour) -> None:
    """Build the first of its projections again, and have it read."""
    Fault.file = labour.file
    app = app_of(labour.url, labour.code, is_worker=False)

    async def always(*_: Any) -> bool:
        return True

    async def run() -> None:
        pace = PACE._replace(handler_seconds=labour.handler_seconds)
        async with operating(app, labour.code.kinds[0], pace) as operator:
            try:
                await Rebuild(operator.subject, build_here(operator.subject), lambda *_: None).run(always)
            except BuildStoppedError:
                sys.exit(_STOPPED)

    asyncio.run(run())


class Trial:
    """A store, a process that works on it, and this one, which appends, reads and looks."""

    def __init__(self, app: App, web: httpx.AsyncClient, hands: Crew, labour: Labour) -> None:
        self.app, self.hands, self.labour = app, hands, labour
        self._web = web
        self.codes: list[int] = []  # how processes ended

    async def keep_one(self) -> None:
        """Have one at work, and another whenever it has ended, as a supervisor would."""
        while True:
            self.codes.append(await self.hands.ended(self.hands.start()))

    def has_fault(self, position: int, harm: Harm) -> None:
        """From now on the handler does so there."""
        self.labour.file.write_text(f"{position} {harm}")

    def is_mended(self) -> None:
        """From now on it does what it should."""
        self.labour.file.write_text("")

    async def rows(self, kind: Kind) -> dict[Any, int]:
        """The rows of a projection by key."""
        model, key = _MODELS[kind]
        async with self.app.views.reader() as session:
            table = table_of(model)
            raw = await session.fetch(f'SELECT "{key}", "history" FROM "{table.name}"', {})
            return {getattr(row, key): row.history for row in session.decode(table, raw)}

    async def board_where(self, is_so: Callable[[Board], object]) -> Board:
        """Return the board as soon as it is so."""
        with anyio.fail_after(PATIENCE):
            while not is_so(board := await self.app.views.leases.board()):  # noqa: ASYNC110 - it is looked at, not told
                await asyncio.sleep(0.005)
        return board

    async def is_healthy(self) -> str:
        """Return what `/health/ready` says is wrong; nothing if nothing is."""
        answer = await self._web.get("/health/ready")
        assert answer.status_code in (200, 503)
        return "" if answer.status_code == 200 else str(answer.json()["detail"])

    async def turns_healthy(self) -> None:
        """Return when nothing is wrong any more."""
        deadline = time.monotonic() + PATIENCE
        while wrong := await self.is_healthy():
            assert time.monotonic() < deadline, wrong
            await asyncio.sleep(0.01)

    async def reads(self, given: Sequence[Spoonful], kind: Kind, position: int) -> str | None:
        """Read what the event at a position changed, and return why that was refused."""
        event = (await self.app.events.read_log(after=position - 1, limit=1)).events[0]
        one = given[position - 1]
        query: Query[Any] = GetJar(id=one.jar) if kind == "jars" else GetSort(sort=one.sort)
        try:
            await self.app.queries.dispatch(query, after=token(position, event.event_id), within=PATIENCE)
        except StaleReadError as stale:
            return stale.reason
        return None

    async def asks(self, kind: Kind, end: End, key: str, position: int) -> list[Request]:
        """Ask the owners, and return what they answered."""
        reason, leases = f"{end} it", self.app.views.leases
        given: dict[str, Any] = {"key": key, "position": position} if end == "skip" else {}
        asked = {one.id for one in await leases.ask(kind, end, reason=reason, by="ada", **given)}
        await self.board_where(lambda board: not board.requests)
        answered = [one for one in await leases.requests(kind) if one.id in asked]
        assert all((one.reason, one.asked_by) == (reason, "ada") and one.outcome for one in answered), answered
        return answered


@asynccontextmanager
async def trial(url: str, folder: Path, code: Code, handler_seconds: float = HANDLER_SECONDS) -> AsyncIterator[Trial]:
    """A store without events, nobody at work yet."""
    labour = Labour(url, folder / "fault", code, handler_seconds)
    labour.file.write_text("")
    app, api = app_of(url, code, is_worker=False), FastAPI()
    install(app, api)
    async with app, httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://jars") as web:
        with crew(0, work, labour) as hands:
            yield Trial(app, web, hands, labour)


async def poison(url: str, folder: Path, case: Case, random: Random) -> None:
    """Go through one case. :raises AssertionError: something is not as it must be."""
    given = spoonfuls(case.events)
    seconds = HANDLER_SECONDS if case.harm == "hang" else 30.0
    async with trial(url, folder, Code((case.kind, "reports")), seconds) as one:
        keeping = asyncio.create_task(one.keep_one())
        try:
            if case.where == "live":
                await _live(one, case, given, random.randrange(case.events))
                await _is_told(one, case, given)
            else:
                await _rebuilt(one, case, given)
            if case.is_isolated or case.where == "live":
                await _ended_well(one, case, given)
            _ended_as_expected(one, case)
        finally:
            keeping.cancel()


async def _live(one: Trial, case: Case, given: Sequence[Spoonful], first: int) -> None:
    """Some events are there before anybody works, the others come while they are worked on."""
    one.has_fault(case.position, case.harm)
    await fill(one.app.events, given[:first])
    await fill(one.app.events, given[first:])
    assert await one.app.progress["reports"].wait_for(case.events, PATIENCE), "others are delayed (P7)"
    if case.is_isolated:
        assert await one.app.progress[case.kind].wait_for(case.events, PATIENCE), "other keys are delayed (P7)"
    else:
        with anyio.fail_after(PATIENCE):
            while f"position {case.position} " not in str(one.app.progress[case.kind].error):  # noqa: ASYNC110
                await anyio.sleep(0.005)
    assert await one.rows("reports") == folded(given, lambda each: each.jar)


async def _is_told(one: Trial, case: Case, given: Sequence[Spoonful]) -> None:
    """What can be applied is, and what cannot be says so."""
    k, waiting = case.position, _waiting(case, given)
    rows, right = await one.rows(case.kind), folded(given, _key(case), waiting)
    assert rows == right, f"{case}: {set(rows.items()) ^ set(right.items())}, where {waiting} are to be missing (P1)"
    parked = [event.position for event in await one.app.views.parked(case.kind)]
    (found,) = [each for each in (await one.app.status()).projections if each.name == case.kind]
    wrong = await one.is_healthy()
    assert f"position {k} (jars.filled)" in wrong, f"{case}: health says {wrong!r}"
    if case.is_isolated:
        assert parked == waiting, f"{case}: {parked} are parked, not {waiting} (P7)"
        assert (found.state, found.parked, found.position) == ("parked", 1, case.events), found
        assert await one.reads(given, case.kind, k) == "parked"
        other = next((p for p in range(case.events, 0, -1) if given[p - 1].jar != given[k - 1].jar), 0)
        why = await one.reads(given, case.kind, other)
        assert why is None, f"{case}: {other} reads as {why}"
    else:
        assert parked == []
        assert (found.state, found.position) == ("stopped", k - 1), found
        assert await one.reads(given, case.kind, k) == "stopped"
        assert k == 1 or await one.reads(given, case.kind, k - 1) is None


async def _rebuilt(one: Trial, case: Case, given: Sequence[Spoonful]) -> None:
    """All is well when somebody builds it again with code that fails."""
    await fill(one.app.events, given)
    await one.app.caught_up(PATIENCE)
    right = folded(given, _key(case))
    assert await one.rows(case.kind) == right
    one.has_fault(case.position, case.harm)
    code = await _build(one)
    if case.is_isolated:
        assert code == 0
        await one.app.status()  # what was swapped in is heard of on the way, on a server within a second
        await one.app.caught_up(PATIENCE)
        await _is_told(one, case, given)
        return
    assert code == _STOPPED
    assert await one.rows(case.kind) == right, f"{case}: what is read changed"
    assert await one.is_healthy() == ""
    one.is_mended()
    assert await _build(one) == 0
    await one.app.status()
    await one.app.caught_up(PATIENCE)
    assert await one.rows(case.kind) == right, f"{case}: built again it is not the same (P3)"
    assert await one.is_healthy() == ""


async def _build(one: Trial) -> int:
    """Build again until that has an end; returns how it ended."""
    with crew(0, rebuild, one.labour) as builders:
        for _ in range(5):
            code = await builders.ended(builders.start())
            if code != ENDED:
                return code
            one.codes.append(code)
    raise AssertionError("it ends the process again and again")


async def _ended_well(one: Trial, case: Case, given: Sequence[Spoonful]) -> None:
    """Mended and tried again it is as if it had never failed; left out, the event alone is missing."""
    key = str(given[case.position - 1].jar)
    if case.end == "retry":
        one.is_mended()
    answered = await one.asks(case.kind, case.end, key if case.is_isolated else "", case.position)
    without = [case.position] if case.end == "skip" else []
    await one.turns_healthy()
    await one.app.caught_up(PATIENCE)
    assert await one.rows(case.kind) == folded(given, _key(case), without), f"{case}: {answered} (P1)"
    assert await one.app.views.parked(case.kind) == []
    if case.end == "skip":
        assert "is left out for ever" in answered[0].outcome
    assert await one.reads(given, case.kind, case.events) is None


def _ended_as_expected(one: Trial, case: Case) -> None:
    if case.harm == "exit":
        assert set(one.codes) == {ENDED}, one.codes
        assert 2 <= len(one.codes) <= 4, one.codes
    else:
        assert one.codes == []


def _waiting(case: Case, given: Sequence[Spoonful]) -> list[int]:
    """Positions that cannot be applied: of one key, or all from there on."""
    k = case.position
    behind = range(k, case.events + 1)
    return [p for p in behind if not case.is_isolated or given[p - 1].jar == given[k - 1].jar]


def _key(case: Case) -> Callable[[Spoonful], Any]:
    return (lambda each: each.jar) if case.is_isolated else (lambda each: each.sort)


def cases(random: Random, positions: Collection[int]) -> list[Case]:
    """Every way for each of these positions, in an order of chance."""
    kinds: tuple[Kind, ...] = ("jars", "sorts")
    harms: tuple[Harm, ...] = ("raise", "hang", "exit")
    places: tuple[Where, ...] = ("live", "rebuild")
    found = [
        Case(kind, harm, where, random.choice(("retry", "retry", "skip")), position)
        for position in positions
        for kind in kinds
        for harm in harms
        for where in places
    ]
    random.shuffle(found)
    return found
