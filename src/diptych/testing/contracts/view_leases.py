"""What every view store keeps of workers: who is alive, who owns which lane, what is asked of them.

Rule: of two who believe that a lane is theirs only the last to claim it can commit (P5).
"""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from diptych.errors import CheckpointMovedError, ProgrammingError
from diptych.store.batches import LaneMove, ParkedEvent, ViewBatch
from diptych.store.leases import Held, Worker
from diptych.store.protocols import ViewStore
from diptych.testing.contracts.view_comparing import ViewComparingContract
from diptych.testing.contracts.view_generations import LANES, rows
from diptych.testing.contracts.view_rows import SHOP, STORE, TALLIES, batch

ADA, BOB = (Worker(name, f"host {name}", frozenset({2})) for name in ("ada", "bob"))
LONG = 60.0


class ViewLeasesContract(ViewComparingContract):
    """Workers and lanes."""

    async def test_a_beat_tells_who_is_alive(self, views: ViewStore) -> None:
        assert (await views.leases.board()).workers == []
        board = await views.leases.beat(ADA, LONG)
        assert list(board.workers) == [ADA]
        board = await views.leases.beat(BOB._replace(takes=frozenset({1, 2})), LONG)
        assert [(one.id, one.takes) for one in board.workers] == [("ada", ADA.takes), ("bob", frozenset({1, 2}))]
        assert board.now > 1_700_000_000_000_000
        await views.leases.leave("ada")
        assert [one.id for one in (await views.leases.board()).workers] == ["bob"]

    async def test_the_board_has_every_lane_and_generation(self, views: ViewStore) -> None:
        await views.commit(batch(TALLIES, rows(1), to=4))
        board = await views.leases.beat(ADA, LONG)
        assert [(one.projection, one.generation, one.lane, one.checkpoint.position) for one in board.lanes] == [
            ("shop", 1, 0, 0),
            ("tallies", 2, 0, 4),
        ]
        assert board.generations == await views.generations.all()
        assert (dict(board.paused), list(board.requests)) == ({}, [])

    async def test_a_lane_has_one_owner(self, views: ViewStore) -> None:
        await _alive(views, ADA, BOB)
        (held,) = await views.leases.claim("ada", "tallies", 2, [0])
        assert (held.lane, held.epoch, held.checkpoint.position, held.is_clean, held.attempt) == (0, 1, 0, True, 0)
        assert list(await views.leases.claim("bob", "tallies", 2, [0])) == []
        assert [one.owner for one in (await views.leases.board()).lanes] == ["", "ada"]

    async def test_only_the_last_epoch_can_commit(self, views: ViewStore) -> None:
        """P5: a zombie's writes are refused, whatever it believes."""
        await _alive(views, ADA, BOB)
        (old,) = await views.leases.claim("ada", "tallies", 2, [0])
        await views.leases.beat(BOB, LONG, dead=["ada"])
        (new,) = await views.leases.claim("bob", "tallies", 2, [0])
        assert (new.epoch, new.is_clean) == (old.epoch + 1, False)
        with pytest.raises(CheckpointMovedError):
            await views.commit(_move(old, 1))
        await views.commit(_move(new, 1))
        await views.leases.beat(ADA, LONG)
        assert list(await views.leases.claim("ada", "tallies", 2, [0])) == []

    async def test_a_lane_of_a_worker_whose_time_is_over_is_free(self, views: ViewStore) -> None:
        await views.leases.beat(ADA, 0.05)
        await views.leases.claim("ada", "tallies", 2, [0])
        await views.leases.beat(BOB, LONG)
        held: Sequence[Held] = []
        async with asyncio.timeout(10):
            while not held:
                held = await views.leases.claim("bob", "tallies", 2, [0])
        assert [one.is_clean for one in held] == [False]
        assert [one.id for one in (await views.leases.board()).workers] == ["bob"]

    async def test_its_owner_may_claim_a_lane_again(self, views: ViewStore) -> None:
        """After trouble: under a new epoch, so that what is still on its way from before cannot commit."""
        await _alive(views, ADA)
        (first,) = await views.leases.claim("ada", "tallies", 2, [0])
        (second,) = await views.leases.claim("ada", "tallies", 2, [0])
        assert (second.epoch, second.is_clean) == (first.epoch + 1, True)
        with pytest.raises(CheckpointMovedError):
            await views.commit(_move(first, 1))

    async def test_who_lets_go_leaves_a_lane_clean(self, views: ViewStore) -> None:
        await _alive(views, ADA, BOB)
        await views.leases.claim("ada", "tallies", 2, [0])
        await views.leases.mark("ada", "tallies", 2, 0, attempt=5)
        await views.leases.release("bob", "tallies", 2, [0])  # it is not bob's
        assert list(await views.leases.claim("bob", "tallies", 2, [0])) == []
        await views.leases.release("ada", "tallies", 2, [0], trouble="no such event type")
        assert [one.trouble for one in (await views.leases.board()).lanes] == ["", "no such event type"]
        (held,) = await views.leases.claim("bob", "tallies", 2, [0])
        assert (held.is_clean, held.attempt) == (True, 0)
        await views.leases.leave("bob")
        assert [one.owner for one in (await views.leases.board()).lanes] == ["", ""]

    async def test_what_was_tried_is_told_to_the_next_and_wiped_by_a_commit(self, views: ViewStore) -> None:
        """P7: so that an event that ends the process is found."""
        await _alive(views, ADA, BOB)
        (held,) = await views.leases.claim("ada", "tallies", 2, [0])
        await views.leases.mark("ada", "tallies", 2, 0, attempt=3, trouble="it is slow")
        await views.leases.mark("bob", "tallies", 2, 0, attempt=9)  # it is not bob's
        await views.leases.beat(BOB, LONG, dead=["ada"])
        (next_,) = await views.leases.claim("bob", "tallies", 2, [0])
        assert (next_.attempt, next_.is_clean) == (3, False)
        assert [one.trouble for one in (await views.leases.board()).lanes] == ["", "it is slow"]
        await views.commit(_move(next_, 3))
        assert [one.trouble for one in (await views.leases.board()).lanes] == ["", ""]
        (again,) = await views.leases.claim("bob", "tallies", 2, [0])
        assert (again.attempt, again.checkpoint.position, again.epoch) == (0, 3, held.epoch + 2)

    async def test_of_many_who_claim_at_once_each_lane_has_one(self, storage: Callable[[], ViewStore]) -> None:
        """P5, with a store for each, as in processes of their own."""
        stores = [storage() for _ in range(3)]
        for store in stores:
            await store.open([LANES], store_id=STORE)
        workers = [Worker(f"w{n}", "", frozenset({1})) for n in range(3)]
        await asyncio.gather(*(s.leases.beat(w, LONG) for s, w in zip(stores, workers, strict=True)))
        claims = [s.leases.claim(w.id, "tallies", 1, range(16)) for s, w in zip(stores, workers, strict=True)]
        held = [one.lane for got in await asyncio.gather(*claims) for one in got]
        assert sorted(held) == list(range(16))
        for store in stores:
            await store.close()

    async def test_a_request_is_open_until_it_is_settled(self, views: ViewStore) -> None:
        (asked,) = await views.leases.ask("tallies", "retry", reason="the bug is mended", by="ada")
        assert (asked.generation, asked.lane, asked.verb, asked.key, asked.outcome) == (2, 0, "retry", "", "")
        assert asked.asked_at > 1_700_000_000_000_000
        assert list((await views.leases.board()).requests) == [asked]
        with pytest.raises(ProgrammingError, match="what became of it"):
            await views.leases.settle(asked.id, "")
        await views.leases.settle(asked.id, "3 keys applied")
        assert list((await views.leases.board()).requests) == []
        assert list(await views.leases.requests("tallies")) == [asked._replace(outcome="3 keys applied")]
        assert list(await views.leases.requests("shop")) == []

    async def test_what_was_done_otherwise_is_among_the_requests(self, views: ViewStore) -> None:
        await views.leases.note("tallies", "rollback", reason="wrong totals", by="ada", outcome="generation 2 is live")
        (noted,) = await views.leases.requests("tallies")
        assert (noted.verb, noted.reason, noted.asked_by) == ("rollback", "wrong totals", "ada")
        assert (noted.generation, noted.lane, noted.position, noted.outcome) == (2, 0, 0, "generation 2 is live")
        assert list((await views.leases.board()).requests) == []

    async def test_a_request_goes_to_the_lane_of_its_key(self, storage: Callable[[], ViewStore]) -> None:
        store = storage()
        await store.open([LANES], store_id=STORE)
        parked = [ParkedEvent("k", 3, "boom", lane=5)]
        moves = [LaneMove(lane, 0, 0) for lane in range(16)]
        await store.commit(ViewBatch("tallies", 1, moves, 3, b"e3", parked=parked))
        assert [one.lane for one in await store.leases.ask("tallies", "retry", key="k")] == [5]
        assert [one.lane for one in await store.leases.ask("tallies", "retry")] == list(range(16))
        assert list(await store.leases.ask("tallies", "retry", key="none")) == []
        await store.commit(ViewBatch("tallies", 1, [LaneMove(7, 0, 3)], 8, b"e8"))
        skipping = await store.leases.ask("tallies", "skip", position=8, reason="it was a test")
        assert [one.lane for one in skipping] == [lane for lane in range(16) if lane != 7]
        (one,) = await store.leases.ask_lane("tallies", "rebuild", 7, key="any", by="ada")
        assert (one.lane, one.verb, one.key, one.position, one.asked_by) == (7, "rebuild", "any", 0, "ada")
        assert [one.lane for one in await store.leases.ask_lane("tallies", "retry", 7, key="")] == [7]
        assert list(await store.leases.ask_lane("tallies", "rebuild", 16, key="any")) == []
        assert list(await store.parked("tallies")) == parked
        await store.close()

    async def test_the_owners_of_a_generation_that_is_built_can_be_asked(self, views: ViewStore) -> None:
        """Until it is dropped: then what was not done is answered with that."""
        built = await views.generations.begin(TALLIES._replace(version=2))
        parked = [ParkedEvent("k", 3, "boom", lane=0)]
        await views.commit(ViewBatch("tallies", built.number, [LaneMove(0, 0, 0)], 3, b"e3", parked=parked))
        asking = views.leases.ask_generation
        (asked,) = await asking(built.number, "retry", reason="it is mended", by="ada")
        assert asked[1:6] == ("tallies", built.number, 0, "retry", "")
        assert [one.key for one in await asking(built.number, "skip", key="k", position=3)] == ["k"]
        assert list(await asking(built.number, "skip", key="none", position=3)) == []
        assert list(await asking(built.number, "skip", position=3)) == []
        assert [one.lane for one in await asking(built.number, "skip", position=4)] == [0]
        assert list(await asking(built.number + 1, "retry")) == []
        await views.leases.settle(asked.id, "1 event is applied")
        await views.generations.drop("tallies", built.number)
        gone = f"Generation {built.number} is gone."
        outcomes = [one.outcome for one in await views.leases.requests("tallies")]
        assert outcomes == [gone, gone, "1 event is applied"]
        assert list((await views.leases.board()).requests) == []

    async def test_a_pause_is_on_the_board_until_it_is_over(self, views: ViewStore) -> None:
        await views.leases.pause("tallies", None, reason="maintenance", by="ada")
        await views.leases.pause("shop", 60, reason="comparing", by="")
        paused = (await views.leases.board()).paused
        assert (paused["tallies"].until, paused["tallies"].reason) == (None, "maintenance (ada)")
        assert (paused["shop"].until or 0) > 1_700_000_000_000_000
        await views.leases.resume("tallies")
        await views.leases.pause("shop", 0, reason="over at once", by="")
        assert dict((await views.leases.board()).paused) == {}

    async def test_a_pause_that_yields_leaves_another_as_it_is(self, views: ViewStore) -> None:
        """A rebuild that holds a projection for a moment may not end what an operator said."""

        async def reasons() -> list[str]:
            return [pause.reason for pause in (await views.leases.board()).paused.values()]

        await views.leases.pause("tallies", None, reason="maintenance", by="")
        await views.leases.pause("tallies", 60, reason="comparing", by="", yields=True)
        await views.leases.resume("tallies", reason="comparing")
        assert await reasons() == ["maintenance"]
        await views.leases.pause("tallies", 0, reason="maintenance", by="")
        await views.leases.pause("tallies", 60, reason="comparing", by="", yields=True)
        assert await reasons() == ["comparing"]
        await views.leases.pause("tallies", None, reason="comparing", by="", yields=True)
        assert [pause.until for pause in (await views.leases.board()).paused.values()] == [None]
        await views.leases.resume("tallies", reason="comparing")
        assert await reasons() == []

    async def test_a_view_store_that_is_opened_again_knows_its_workers(self, storage: Callable[[], ViewStore]) -> None:
        first = storage()
        await first.open([SHOP, TALLIES], store_id=STORE)
        await first.leases.beat(ADA, LONG)
        await first.leases.claim("ada", "tallies", 2, [0])
        await first.close()
        second = storage()
        await second.open([SHOP, TALLIES], store_id=STORE)
        assert [one.owner for one in (await second.leases.board()).lanes] == ["", "ada"]
        await second.close()


async def _alive(views: ViewStore, *workers: Worker) -> None:
    for worker in workers:
        await views.leases.beat(worker, LONG)


def _move(held: Held, position: int) -> ViewBatch:
    moves = [LaneMove(held.lane, held.epoch, held.checkpoint.position)]
    return ViewBatch("tallies", 2, moves, position, b"e%d" % position, changes=[rows(position)])
