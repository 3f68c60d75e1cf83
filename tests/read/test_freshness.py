"""How fresh a snapshot is said to be: by what its rows say, and by what this process knows, whichever knows more."""

from typing import Any

import pytest

from diptych.read.freshness import NOT_ASKED, Known, fresh, known_of
from diptych.store.batches import Checkpoint, Freshness
from diptych.subscriptions.progress import Progress, State

pytestmark = pytest.mark.anyio


class Snapshot:
    """What its rows say of each projection."""

    def __init__(self, **found: Freshness) -> None:
        self._found = found

    async def freshness(self, projection: str) -> Freshness:
        return self._found[projection]


def at(position: int, *, parked: int = 0, generation: int = 1) -> Freshness:
    return Freshness(Checkpoint(position, 1, b"e%d" % position, position * 1000), parked, generation)


def known(name: str, position: int, state: State = "running", generation: int = 1) -> Progress:
    progress = Progress(name)
    progress.turns_to(generation)
    progress.shows(state)
    progress.advance(position, position * 1000, b"e%d" % position)
    return progress


async def told(snapshot: Snapshot, *projections: Progress) -> Any:
    before = {each: known_of(each) for each in projections}
    return await fresh(snapshot, projections, before)  # type: ignore[arg-type]


async def test_without_projections_nothing_is_said() -> None:
    assert await told(Snapshot()) == NOT_ASKED


async def test_it_is_as_fresh_as_the_least_of_them() -> None:
    """R2"""
    snapshot = Snapshot(orders=at(7), sales=at(4))
    assert (await told(snapshot, known("orders", 7), known("sales", 4))).position == 4
    assert (await told(snapshot, known("sales", 4), known("orders", 7))).position == 4


async def test_what_was_scanned_past_the_checkpoint_counts_for_rows_of_that_generation() -> None:
    """R2"""
    assert (await told(Snapshot(orders=at(4)), known("orders", 9))).position == 9
    assert (await told(Snapshot(orders=at(9)), known("orders", 4))).position == 9
    other = await told(Snapshot(orders=at(4, generation=2)), known("orders", 9))
    assert (other.position, other.is_of_another) == (4, True)


@pytest.mark.parametrize(
    ("found", "state", "reason"),
    [
        (at(4), "running", None),
        (at(4, parked=1), "running", "parked"),
        (at(4), "parked", "parked"),
        (at(4, parked=1), "parked", "parked"),
        (at(4, parked=1), "stopped", "stopped"),
        (at(4), "paused", "paused"),
        (at(4), "frozen", "frozen"),
    ],
)
async def test_what_is_wrong_is_said_whoever_knows_of_it(found: Freshness, state: State, reason: str | None) -> None:
    """R2, P7: what another process parked is known to the store alone."""
    assert (await told(Snapshot(orders=found), known("orders", 4, state))).reason == reason


async def test_a_projection_that_stands_is_worse_than_a_parked_key_of_another() -> None:
    """R2"""
    snapshot = Snapshot(orders=at(4, parked=1), sales=at(4))
    for projections in (
        (known("orders", 4), known("sales", 4, "stopped")),
        (known("sales", 4, "stopped"), known("orders", 4)),
    ):
        assert (await told(snapshot, *projections)).reason == "stopped"


def test_what_is_known_has_its_generation() -> None:
    assert known_of(known("orders", 3, generation=5)) == Known(5, known_of(known("orders", 3)).place)
