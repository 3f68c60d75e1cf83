"""A whole app that is killed: commands, one inline and two asynchronous projections; and how it is judged."""

import asyncio
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

from diptych import App, Command, Receipt, WrongExpectedVersionError
from diptych.clock import id_for
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.projections.definition import define_all
from diptych.projections.plan import Definition
from diptych.store.opening import open_stores
from diptych.store.protocols import EventStore, ViewStore
from diptych.subscriptions.lanes import lane_of
from tests.campaigns.bank import PROJECTIONS, Balances, Branches, Ledgers, PaidIn, PayIn, Transfer, bank
from tests.campaigns.stores import url_in

COMMANDS: Final = 12

Rows = dict[str, dict[Any, tuple[Any, ...]]]


def _account(number: int) -> UUID:
    return id_for("bank account", str(number))


def _command(number: int) -> Command[int]:
    if number % 4 == 3:
        return Transfer(source=_account(0), target=_account(9), amount=Decimal("1.25"))
    return PayIn(account_id=_account(number % 3), amount=Decimal(f"{number + 10}.50"), branch=f"b{number % 2}")


async def _dispatch(app: App, number: int) -> Receipt[int]:
    return await app.commands.dispatch(_command(number), command_id=id_for("bank", str(number)))


def work(directory: Path) -> None:
    """Start the app, dispatch, stop; what was answered is written down at once."""
    with (directory / "answers").open("a", buffering=1) as answers:
        asyncio.run(dispatch_all(directory, answers.write))


async def dispatch_all(directory: Path, answered: Callable[[str], Any]) -> None:
    """Dispatch three commands at a time; each answer, a line, is handed over the moment it comes."""
    async with bank(url_in(directory)) as app:
        for first in range(0, COMMANDS, 3):
            await asyncio.gather(*(_tell(number, app, answered) for number in range(first, first + 3)))
        await app.caught_up(10)


async def _tell(number: int, app: App, answered: Callable[[str], Any]) -> None:
    receipt = await _dispatch(app, number)
    answered(json.dumps([number, receipt.position, receipt.result]) + "\n")


async def check(directory: Path) -> str:
    """Look at the files as the crash left them, then start again and send everything again."""
    before = await look(url_in(directory))
    told = _answers(directory)
    async with bank(url_in(directory)) as app:
        again = [await _dispatch(app, number) for number in range(COMMANDS)]
        await app.caught_up(10)
    for number, receipt in enumerate(again):
        if number in told:
            assert receipt.is_replay, f"command {number} was acknowledged and took effect again (C1)"
            assert (receipt.position, receipt.result) == told[number], f"command {number} has another answer (C1)"
    after = await look(url_in(directory))
    movements = sum(row[1] for row in after["ledger"].values())
    transfers = len([number for number in range(COMMANDS) if number % 4 == 3])
    assert movements == COMMANDS + transfers, f"{movements} movements of {COMMANDS} commands (C1, L1)"
    return f"{len(told)} acknowledged, {sum(len(rows) for rows in before.values())} rows before, {movements} movements"


async def compete(url: str, directory: Path, seed: int, commands: int) -> dict[str, list[int]]:
    """Dispatch beside another process that does the same; the first half of the commands is sent by both.

    Returns position and result of each, by name, and leaves them in a file of the directory.
    """
    names = [f"shared {n}" if n < commands // 2 else f"{seed}: {n}" for n in range(commands)]
    random = Random(seed)
    random.shuffle(names)
    answers: dict[str, list[int]] = {}
    async with bank(url) as app:

        async def one(name: str) -> None:
            number = int(name.split()[1])
            command = PayIn(account_id=_account(number % 5), amount=Decimal(number), branch=f"b{number % 2}")
            receipt = await _insist(app, command, id_for("competing", name))
            answers[name] = [receipt.position, receipt.result]

        await _both_ready(directory, seed)
        for first in range(0, commands, 8):
            await asyncio.gather(*map(one, names[first : first + 8]))
        await app.caught_up(20)
    (directory / f"answers-{seed}").write_text(json.dumps(answers))
    return answers


async def _insist(app: App, command: Command[int], command_id: UUID) -> Receipt[int]:
    """Send again while the other process is faster at the same account."""
    while True:
        try:
            return await app.commands.dispatch(command, command_id=command_id)
        except WrongExpectedVersionError:
            continue


async def _both_ready(directory: Path, seed: int) -> None:
    """Begin at the same time, so that the two are in each other's way."""
    (directory / f"ready-{seed}").touch()
    async with asyncio.timeout(30):
        while not all((directory / f"ready-{number}").exists() for number in (1, 2)):  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def _answers(directory: Path) -> dict[int, tuple[int, int]]:
    recorded = directory / "answers"
    lines = recorded.read_text().splitlines() if recorded.exists() else []
    return {number: (position, result) for number, position, result in map(json.loads, lines)}


async def look(url: str) -> Rows:
    """P2: in the stores as they are, each projection's rows are the fold of the log up to the checkpoints of its lanes.

    L7: the inline one's checkpoint is the head.
    """
    stores = open_stores(url)
    asynchronous, inline = _definitions("async"), _definitions("inline")
    await stores.events.open()
    try:
        await stores.views.open([one.tables for one in asynchronous], store_id=stores.events.store_id)
        try:
            await stores.events.inline.open([one.tables for one in inline], store_id=stores.events.store_id)
            found: Rows = {}
            for definition in (*asynchronous, *inline):
                views = stores.events.inline if definition in inline else stores.views
                found |= await _compare(definition, views, stores.events)
            return found
        finally:
            await stores.views.close()
    finally:
        await stores.events.close()


def _definitions(mode: str) -> tuple[Definition, ...]:
    chosen = [(projection, mode) for projection, its in PROJECTIONS.items() if its == mode]
    return define_all(chosen)  # type: ignore[arg-type]


async def _compare(definition: Definition, views: ViewStore, events: EventStore) -> Rows:
    name, (table,) = definition.name, definition.tables.tables
    columns = ", ".join(column.name for column in table.columns)
    async with views.reader() as reader:
        raw = await reader.fetch(f"SELECT {columns} FROM {table.name}", {})
        found = (await reader.freshness(name)).checkpoint.position
        rows = {row[0]: row for row in (tuple(one.model_dump().values()) for one in reader.decode(table, raw))}
    lanes = [place.position for place in await views.places(name)] or [0]
    assert found == min(lanes), f"{name} says that it stands at {found}, and its lanes at {lanes} (R2)"
    head = (await events.head()).position
    if PROJECTIONS[_class(name)] == "inline":
        assert lanes[0] in (head, 0), f"{name} is inline and stands at {lanes[0]} of {head} (L7)"
    expected = await _fold(_class(name), events, lanes)
    assert rows == expected, f"{name} with lanes at {lanes}: rows {rows} are not the fold {expected} (P2)"
    return {table.name: rows}


async def _log(events: EventStore, until: int) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    while len(found) < until:
        found += (await events.read_log(after=len(found))).events
    return found[:until]


def _class(name: str) -> Any:
    return {"balances": Balances, "branches": Branches, "ledgers": Ledgers}[name]


async def _fold(projection: Any, events: EventStore, lanes: Sequence[int]) -> dict[Any, tuple[Any, ...]]:
    """The rows by a computation of our own: each lane's events, up to where the lane stands."""
    codec, rows = Codec(), dict[Any, tuple[Any, ...]]()
    for stored in await _log(events, max(lanes)):
        if stored.position > lanes[lane_of(str(stored.stream.id), len(lanes))]:
            continue
        event, id = codec.decode(stored), stored.stream.id
        amount = getattr(event, "amount", Decimal(0)) * (1 if isinstance(event, PaidIn) else -1)
        if projection is Balances:
            _, balance, count = rows.get(id, (id, Decimal(0), 0))
            rows[id] = (id, balance + amount, count + 1)
        elif projection is Ledgers:
            rows[id] = (id, rows.get(id, (id, 0))[1] + 1)
        elif isinstance(event, PaidIn):
            rows[event.branch] = (event.branch, rows.get(event.branch, ("", Decimal(0)))[1] + amount)
    return rows
