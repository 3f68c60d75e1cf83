"""One dispatch under fire: conflicts, repetitions, nesting and the cache, with two apps on one log."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, CommandBus, DomainError, DomainEvent, Repository, new_id, on
from diptych.errors import ConflictError, ProgrammingError, WrongExpectedVersionError

pytestmark = pytest.mark.anyio


class Counted(DomainEvent):
    by: int


class Counter(Aggregate):
    total: int = 0

    @on
    def _counted(self, event: Counted) -> None:
        self.total += event.by


class Count(Command[int]):
    counter_id: UUID
    by: int = 1
    nap: float = 0.0


class CountBoth(Command):
    first: UUID
    second: UUID


class LookThenCount(Command):
    looked_at: UUID
    counter_id: UUID


class TooHighError(DomainError):
    pass


def counters(url: str, runs: list[str]) -> App:
    app = App(url, mode="development")

    @app.command_handler
    async def count(command: Count, counters: Repository[Counter]) -> int:
        runs.append("count")
        counter = await counters.get_or_new(command.counter_id)
        await asyncio.sleep(command.nap)
        if counter.total + command.by > 1000:
            raise TooHighError("enough")
        counter.record(Counted(by=command.by))
        return counter.total

    @app.command_handler
    async def count_both(command: CountBoth, commands: CommandBus, counters: Repository[Counter]) -> None:
        (await counters.get_or_new(command.first)).record(Counted(by=1))
        await commands.dispatch(Count(counter_id=command.second))

    @app.command_handler
    async def look(command: LookThenCount, counters: Repository[Counter]) -> None:
        runs.append("look")
        seen = await counters.get_or_none(command.looked_at)
        counter = await counters.get_or_new(command.counter_id)
        await asyncio.sleep(0.2)
        counter.record(Counted(by=seen.total if seen else 100))

    return app


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
async def both(tmp_path_factory: pytest.TempPathFactory, runs: list[str]) -> AsyncIterator[tuple[App, App]]:
    url = f"sqlite:///{tmp_path_factory.mktemp('counters')}/c.db"
    async with counters(url, runs) as one, counters(url, runs) as other:
        yield one, other


async def test_two_processes_at_one_aggregate_lose_nothing_l6(both: tuple[App, App]) -> None:
    counter = new_id()
    work = [app.commands.dispatch(Count(counter_id=counter, nap=0.0005)) for _ in range(25) for app in both]
    done = await asyncio.gather(*work, return_exceptions=True)
    won = [receipt.result for receipt in done if not isinstance(receipt, BaseException)]
    assert all(isinstance(r, WrongExpectedVersionError) for r in done if isinstance(r, BaseException))
    assert sorted(won) == list(range(1, len(won) + 1))
    assert len(won) >= 25
    assert (await both[0].commands.dispatch(Count(counter_id=counter))).result == len(won) + 1


async def test_the_cache_notices_what_another_process_wrote(both: tuple[App, App], runs: list[str]) -> None:
    """When it loads, and not by a conflict."""
    one, other = both
    counter = new_id()
    for expected in range(1, 9, 2):
        assert (await one.commands.dispatch(Count(counter_id=counter))).result == expected
        assert (await other.commands.dispatch(Count(counter_id=counter))).result == expected + 1
    assert len(runs) == 8


async def test_one_command_id_sent_by_two_processes_at_once_counts_once_c1(both: tuple[App, App]) -> None:
    for _ in range(20):
        counter, key = new_id(), new_id()
        command = Count(counter_id=counter, nap=0.001)
        sent = [app.commands.dispatch(command, command_id=key) for app in (*both, *both)]
        assert [receipt.result for receipt in await asyncio.gather(*sent)] == [1, 1, 1, 1]
        assert (await both[0].commands.dispatch(Count(counter_id=counter))).result == 2


async def test_a_conflict_runs_the_handler_again(both: tuple[App, App], runs: list[str]) -> None:
    one, other = both
    counter = new_id()
    slow = asyncio.create_task(one.commands.dispatch(Count(counter_id=counter, nap=0.05)))
    await asyncio.sleep(0.01)
    assert (await other.commands.dispatch(Count(counter_id=counter))).result == 1
    assert (await slow).result == 2
    assert runs.count("count") == 3


async def test_an_aggregate_that_was_only_read_guards_the_decision(both: tuple[App, App], runs: list[str]) -> None:
    one, other = both
    looked_at, counter = new_id(), new_id()
    slow = asyncio.create_task(one.commands.dispatch(LookThenCount(looked_at=looked_at, counter_id=counter)))
    await asyncio.sleep(0.05)
    await other.commands.dispatch(Count(counter_id=looked_at, by=7))
    await slow
    assert (await one.commands.dispatch(Count(counter_id=counter))).result == 8
    assert runs.count("look") == 2


async def test_a_nested_command_on_the_same_aggregate_is_refused_not_hung(both: tuple[App, App]) -> None:
    counter = new_id()
    with pytest.raises(ProgrammingError, match="Do both in one handler"):
        await asyncio.wait_for(both[0].commands.dispatch(CountBoth(first=counter, second=counter)), 5)


async def test_nested_commands_that_cross_do_not_deadlock(both: tuple[App, App]) -> None:
    a, b = new_id(), new_id()
    crossing = [both[0].commands.dispatch(CountBoth(first=x, second=y)) for x, y in ((a, b), (b, a)) * 5]
    await asyncio.wait_for(asyncio.gather(*crossing, return_exceptions=True), 10)
    assert (await both[0].commands.dispatch(Count(counter_id=a))).result >= 2


async def test_a_cancelled_command_frees_its_aggregate(both: tuple[App, App]) -> None:
    one, counter = both[0], new_id()
    task = asyncio.create_task(one.commands.dispatch(Count(counter_id=counter, nap=5)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await asyncio.wait_for(one.commands.dispatch(Count(counter_id=counter)), 2)).result == 1


async def test_a_command_that_took_effect_is_never_answered_with_a_rejection_c1(both: tuple[App, App]) -> None:
    one, other = both
    counter, key = new_id(), new_id()
    command = Count(counter_id=counter, by=1000)
    first = await one.commands.dispatch(command, command_id=key)
    again = await other.commands.dispatch(Count(counter_id=counter, by=1000), command_id=key)
    assert (first.result, again.result, again.is_replay) == (1000, 1000, True)
    with pytest.raises(TooHighError):
        await other.commands.dispatch(Count(counter_id=counter))


async def test_a_new_aggregate_that_was_never_added_is_noticed_in_development() -> None:
    app = App("memory:", mode="development")

    @app.command_handler
    async def count(command: Count, counters: Repository[Counter]) -> int:
        counter = Counter(command.counter_id)
        counter.record(Counted(by=command.by))
        return counter.total

    async with app:
        with pytest.raises(ProgrammingError, match=r"recorded Counted and was never added"):
            await app.commands.dispatch(Count(counter_id=new_id()))


class Replace(Command):
    counter_id: UUID
    has_recorded: bool = False


@pytest.mark.parametrize("is_stored", [True, False])
async def test_an_aggregate_that_is_there_is_not_added_anew(is_stored: bool) -> None:
    """L7: what was recorded by the one that was loaded would be lost."""
    app = App("memory:", mode="development")
    added: list[Counter] = []

    @app.command_handler
    async def replace(command: Replace, counters: Repository[Counter]) -> None:
        first = await counters.get_or_new(command.counter_id)
        if command.has_recorded:
            first.record(Counted(by=1))
        counters.add(first)  # again: it is the same
        added.append(Counter(command.counter_id))
        counters.add(added[-1])
        added[-1].record(Counted(by=7))

    async with app:
        counter = new_id()
        if is_stored:
            await app.commands.dispatch(Replace(counter_id=counter))
        with pytest.raises(ConflictError, match=f"Counter {counter} exists already. Load it instead"):
            await app.commands.dispatch(Replace(counter_id=counter, has_recorded=not is_stored))
        assert len(added) == 1 + is_stored  # the same one was no conflict, the other was
        if not is_stored:
            receipt = await app.commands.dispatch(Replace(counter_id=counter))
            assert (list(receipt.streams.values()), added[-1].version) == ([1], 1)
