"""What is broken in a lab, how it shows, and what mends it: one function for each."""

import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from diptych import new_id
from diptych.app.status import ProjectionStatus
from examples.demo.players import product_id
from examples.lab.lab import Is, Lab, NotSoError, Scenario, is_well
from examples.lab.parcels import UNLUCKY, GetParcel
from examples.lab.screen import owners

_FAULT: Final = "# the new release: the handler has its bug as long as this file is there"


async def poison(lab: Lab) -> None:
    """Break one order: the handler raises on it."""
    place = lab.place
    place.fault.write_text("poison")
    async with lab.serving():
        await lab.until("parcels are well", is_well)
        lab.say(f"[bold]A handler has a bug.[/] Of `parcels` it fails on {UNLUCKY} pieces; now somebody orders them.")
        order = await _order_unlucky(lab)
        await lab.until("the order is parked", lambda one: one.state == "parked")
        lab.say(
            f"[bold]parcels is parked[/]: order {order} is put aside with everything that happens to it later, in "
            "order. All other orders go on, as their position shows. Health is red until somebody mends it."
        )
        await lab.show_alerts()
        await lab.mend(
            [place.diptych("status"), place.diptych("projection", "show", "parcels")],
            [f"rm {place.fault}  {_FAULT}", place.diptych("projection", "retry", "parcels")],
            "nothing is parked, and both events of the order are applied",
            lambda one: one.parked == 0 and is_well(one),
        )
        parcel = await lab.app.queries.dispatch(GetParcel(order_id=order))
        if parcel is None or parcel.pieces != UNLUCKY + 1:
            raise NotSoError(f"The parcel of order {order} is {parcel}.")
    await _verify(lab)


async def lag(lab: Lab) -> None:
    """Let a projection fall behind: somebody paused it; then its handler is slow."""
    place, late = lab.place, lab.place.limit
    status = place.diptych("status", "--fail-lag", f"{late:g}s")
    async with lab.serving():
        await lab.until("parcels are well", is_well)
        lab.say("[bold]Somebody pauses a projection[/] and forgets it.")
        await lab.do(place.diptych("projection", "pause", "parcels", "--reason", "a look at the rows"))
        await lab.until("it is over its limit", lambda one: one.lag_seconds > late)
        await lab.show_alerts()
        await lab.mend(
            [status],
            [place.diptych("projection", "resume", "parcels")],
            "parcels has caught up",
            is_well,
        )
        lab.say("[bold]A handler is slow[/]: slower than orders come in. That is no failure, and it has no end.")
        place.fault.write_text("slow")
        await lab.until("it is over its limit", lambda one: one.lag_seconds > 1.5 * late)
        await lab.show_alerts()
        await lab.mend(
            [status, place.diptych("projection", "show", "parcels")],
            [f"rm {place.fault}  {_FAULT}"],
            "parcels has caught up",
            is_well,
        )
    await _verify(lab)


async def duplicate_worker(lab: Lab) -> None:
    """Start a second worker, and stop it without ending it: it wakes up when others do its work."""
    place = lab.place
    async with lab.serving():
        await lab.until("parcels are well", is_well)
        lab.say("[bold]A second worker starts[/] on the same store. Nothing tells it which part of the work is its.")
        async with _worker(lab) as worker:
            await lab.until("the lanes are spread", _spread)
            lab.say(
                "[bold]parcels has 16 lanes[/], and each worker has 8 of them now; the other projections have one lane "
                "each. Now the second worker is stopped with SIGSTOP, as a virtual machine is that is moved. Nobody "
                "tells that to the first one."
            )
            os.kill(worker.pid, signal.SIGSTOP)
            await lab.until("the first has all lanes", lambda one: owners(one) == "16")
            lab.say(
                f"[bold]Its lease is over[/], after {place.limit:g} s without a sign of life, and its lanes are taken "
                "over: their epochs are higher by one. It is still there, and knows nothing of it. What it had in hand "
                "it will not be able to write."
            )
            await lab.mend(
                [place.diptych("projection", "show", "parcels")],
                [f"kill -CONT {worker.pid}"],
                "the second worker has woken up, and has 8 lanes again under new epochs",
                lambda one: _spread(one) and is_well(one),
            )
        await lab.until("the lanes came back", lambda one: owners(one) == "16" and is_well(one))
        lab.say("[bold]The second worker ended[/], and its lanes went back. Is any event applied twice, or not at all?")
    await _verify(lab)


async def code_change(lab: Lab) -> None:
    """Deploy other code: with a version of its own, which is not what made the rows; then with the same one."""
    place = lab.place
    place.release.write_text("1")
    async with lab.serving():
        await lab.until("parcels are well", is_well)
        await lab.rest(2)
        lab.say(
            "Release 1 takes the lines of an order for its pieces. Release 2 counts pieces, so it says `version=2`."
        )
    place.release.write_text("2")
    async with lab.serving():
        await lab.until("parcels are frozen", lambda one: one.state == "frozen" and one.lag_seconds > 1)
        answer = await lab.app.queries.answer(GetParcel(order_id=new_id()))
        lab.say(
            "[bold]Release 2 runs, and parcels is frozen[/]: the service was told not to rebuild by itself "
            f'(`on_change="freeze"`), so it serves the old rows, and says so: {answer.is_stale=}, {answer.reason=}.'
        )
        await lab.show_alerts()
        await lab.mend(
            [place.diptych("status"), place.diptych("projection", "rebuild", "parcels", "--dry-run")],
            [place.diptych("projection", "rebuild", "parcels", "--yes")],
            "parcels is read from rows that release 2 made; what differs was shown before the swap",
            is_well,
        )
        await _roll_back(lab)
    place.release.write_text("3")
    async with lab.serving():
        await lab.until("parcels has a note", lambda one: one.note is not None and is_well(one))
        lab.say(
            "[bold]Release 3 makes the same rows in other words[/], with the same version. It goes on at once; what "
            "has changed is only said: a hash of the code cannot know what it means."
        )
        await lab.mend(
            [place.diptych("status")],
            [place.diptych("projection", "accept", "parcels", "--reason", "the same rows")],
            "nobody asks for a rebuild any more",
            lambda one: one.note is None and is_well(one),
        )
    await _verify(lab)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "poison": poison,
    "lag": lag,
    "duplicate-worker": duplicate_worker,
    "code-change": code_change,
}


async def _order_unlucky(lab: Lab) -> UUID:
    """Place the order that is not packed, and add to it."""
    customer, first, second = str(new_id()), product_id(0), product_id(1)
    address = {"street": "", "city": "", "country": "Ireland"}
    item = {"product_id": first, "quantity": UNLUCKY, "unit_price": "23.50"}
    more = {"product_id": second, "quantity": 1, "unit_price": "26.00"}
    order = new_id()
    placed = {"order_id": str(order), "customer_id": customer, "items": [item], "shipping_address": address}
    async with lab.shop.client("lab") as client:
        for path, body in (
            ("/customers", {"customer_id": customer, "name": "A. Stranger", "address": address}),
            (f"/products/{first}/stock", {"quantity": 10_000}),
            (f"/products/{second}/stock", {"quantity": 10_000}),
            ("/orders", placed),
            (f"/orders/{order}/items", {"item": more}),
        ):
            answer = await client.send("POST", path, body)
            if not answer.is_success:
                raise NotSoError(f"POST {path} was answered with {answer.status}: {answer.body}")
    return order


async def _roll_back(lab: Lab) -> None:
    place, new = lab.place, await _generation(lab)
    lab.say(
        "Suppose that the new rows were wrong. The old ones are kept for a day, and [bold]a roll-back[/] is one "
        "UPDATE; so is the way back."
    )
    back = place.diptych("projection", "rollback", "parcels", "--yes")
    await lab.mend(
        [place.diptych("projection", "show", "parcels")], [back], "the old rows are read, frozen", _is_of(new, False)
    )
    await lab.mend([place.diptych("status")], [back], "the new rows are read again", _is_of(new, True))


def _is_of(number: int, is_so: bool) -> Is:
    return lambda one: (one.generation == number) == is_so and (not is_so or is_well(one))


async def _generation(lab: Lab) -> int:
    status = await lab.app.status()
    return next(one.generation for one in status.projections if one.name == "parcels")


def _spread(one: ProjectionStatus) -> bool:
    return owners(one) == "8 + 8"


@asynccontextmanager
async def _worker(lab: Lab) -> AsyncIterator[Process]:
    """Run a second worker; it ends with the block, also when it stands still."""
    process = await create_subprocess_exec(sys.executable, str(lab.place.main), stdin=DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            await process.wait()


async def _verify(lab: Lab) -> None:
    """Have every row compared with what the log makes of it."""
    lab.say("At last every row is compared with a fold of the whole log:")
    await lab.do(lab.place.diptych("db", "verify", "--rows"))
