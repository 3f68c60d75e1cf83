"""R1: what a process says of a projection counts every lane, also those that are on their way to it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from diptych.projections.choosing import Choice
from diptych.projections.definition import define
from diptych.projections.knowing import Knowledge
from diptych.projections.site import Site
from diptych.store.batches import Checkpoint
from diptych.store.generations import Generation
from diptych.store.leases import Board, LaneRow, Worker
from diptych.subscriptions.progress import Place, Progress
from tests.projections import shop

ONE = Generation("baskets", 1, "live", 1, "", 3, "", (), True, 0)


def knowledge(**owners: tuple[str, int]) -> tuple[Knowledge, Progress]:
    """What worker `me` knows of three lanes, each with its owner and position, as `l0=("me", 7)`."""
    progress = Progress("baskets")
    progress.turns_to(1)
    rules: Any = SimpleNamespace(is_worker=True)
    site: Any = SimpleNamespace(events=None, views=None, worker="me", rules=rules)
    known = Knowledge(define(shop.Baskets), progress, cast(Site, site))
    rows = [
        LaneRow("baskets", 1, lane, 1, Checkpoint(position, 1), owner, "")
        for lane, (owner, position) in enumerate(owners.values())
    ]
    workers = [Worker(id, "", frozenset({1})) for id in ("me", "you")]
    known.take_in(Board(0, workers, [ONE], rows, {}, []), Choice(ONE, True, True, False), {})
    return known, progress


def test_lanes_that_come_are_counted_where_others_were_until_they_are_claimed() -> None:
    known, progress = knowledge(l0=("me", 9), l1=("you", 4), l2=("you", 9))
    progress.advance(9)
    known.reckon([0], [1])
    assert progress.position == progress.saved == 4
    progress.advance(9)
    known.reckon([0, 1], [])
    assert progress.position == 9


@pytest.mark.parametrize("coming", [[], [0], [0, 1, 2]])
def test_without_lanes_of_its_own_it_is_where_the_last_of_the_others_is(coming: list[int]) -> None:
    known, progress = knowledge(l0=("you", 9), l1=("you", 9), l2=("you", 4))
    progress.hears({0: Place(9), 1: Place(9), 2: Place(4)})
    known.reckon([], coming)
    assert progress.position == 4
