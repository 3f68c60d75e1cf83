"""What is sent again, and how often it takes effect: conflicts, nested commands, middleware, the same object."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, computed_field
from pydantic.alias_generators import to_camel

from diptych import Aggregate, App, Command, CommandBus, DomainError, DomainEvent, Receipt, Repository, new_id, on
from diptych.app.tuning import Tuning
from diptych.errors import (
    DataError,
    InvalidInputError,
    ProgrammingError,
    StoreUnavailableError,
    UnknownOutcomeError,
    WrongExpectedVersionError,
)
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.write.handling import RetryPolicy
from diptych.write.idempotency import fingerprint

pytestmark = pytest.mark.anyio


class Paid(DomainEvent):
    amount: int


class Purse(Aggregate):
    total: int = 0

    @on
    def _paid(self, event: Paid) -> None:
        self.total += event.amount


class Pay(Command[int]):
    purse_id: UUID
    amount: int = 1


class PayOnce(Command[int]):
    purse_id: UUID


class PayThen(Command):
    purse_id: UUID
    watched_id: UUID


class PaidAlreadyError(DomainError):
    pass


def purses(meanwhile: Callable[[], Awaitable[Any]] | None = None, naps: Sequence[float] = ()) -> App:
    """An app whose first runs of `PayOnce` take so many seconds each."""
    app, left = App(mode="development"), iter(naps)

    @app.command_handler
    async def pay(command: Pay, purses: Repository[Purse]) -> int:
        purse = await purses.get_or_new(command.purse_id)
        purse.record(Paid(amount=command.amount))
        return purse.total

    @app.command_handler
    async def pay_once(command: PayOnce, purses: Repository[Purse]) -> int:
        await asyncio.sleep(next(left, 0))
        purse = await purses.get_or_new(command.purse_id)
        if purse.total:
            raise PaidAlreadyError("paid already")
        purse.record(Paid(amount=1))
        return purse.total

    @app.command_handler
    async def pay_then(command: PayThen, commands: CommandBus, purses: Repository[Purse]) -> None:
        watched = await purses.get_or_new(command.watched_id)
        await commands.dispatch(Pay(purse_id=command.purse_id))
        if meanwhile is not None:
            await meanwhile()
        watched.record(Paid(amount=5))

    return app


async def test_a_handler_that_dispatched_a_command_is_not_run_again_c1() -> None:
    """The nested command has committed: running the handler again would do it twice."""
    purse, watched = new_id(), new_id()

    async def somebody_else() -> None:
        write = StreamWrite(StreamName("", "Purse", watched), ANY, [app.codec.encode(Paid(amount=100))])
        await app.events.append(Append([write]))

    app = purses(somebody_else)
    async with app:
        with pytest.raises(WrongExpectedVersionError):
            await app.commands.dispatch(PayThen(purse_id=purse, watched_id=watched))
        assert (await app.commands.dispatch(Pay(purse_id=purse))).result == 2


@pytest.mark.parametrize("attempts", [0, 2])
async def test_a_command_that_always_conflicts_is_run_again_as_often_as_the_policy_says_l6(attempts: int) -> None:
    app = App(tuning=Tuning(retry=RetryPolicy(attempts, first_delay=0.0)))
    runs = list[int]()

    @app.command_handler
    async def pay(command: Pay, purses: Repository[Purse]) -> int:
        runs.append(1)
        purse = await purses.get_or_new(command.purse_id)
        write = StreamWrite(StreamName("", "Purse", command.purse_id), ANY, [app.codec.encode(Paid(amount=100))])
        await app.events.append(Append([write]))
        purse.record(Paid(amount=command.amount))
        return purse.total

    async with app:
        with pytest.raises(WrongExpectedVersionError):
            await app.commands.dispatch(Pay(purse_id=new_id()))
    assert len(runs) == 1 + attempts


async def test_one_object_dispatched_twice_at_once_takes_effect_once_and_is_never_refused_c1() -> None:
    """Also when the second of them commits first."""
    async with purses(naps=(0.02, 0, 0, 0.02)) as app:
        for _ in range(3):
            command = PayOnce(purse_id=new_id())
            both = await asyncio.gather(app.commands.dispatch(command), app.commands.dispatch(command))
            assert [receipt.result for receipt in both] == [1, 1]


async def test_a_middleware_that_tries_again_after_an_unknown_outcome_gets_the_first_answer_c1() -> None:
    app = purses()

    def once_more(following: Any) -> Any:
        async def dispatch(command: Command[Any]) -> Receipt[Any]:
            try:
                result: Receipt[Any] = await following(command)
            except UnknownOutcomeError:
                result = await following(command)
            return result

        return dispatch

    app.middleware(once_more)
    async with app:
        store: Any = app.events
        append = store.append

        async def lost(what: Append) -> Any:
            store.append = append
            await append(what)
            raise UnknownOutcomeError("the cable was cut")

        store.append = lost
        receipt = await app.commands.dispatch(PayOnce(purse_id=new_id()))
        assert receipt.is_replay
        assert receipt.result == 1


async def test_an_unknown_outcome_stays_unknown_while_the_store_is_away_l1() -> None:
    """A store error says that nothing was stored, and here nobody knows."""
    async with purses() as app:
        store: Any = app.events
        find = store.find_command

        async def lost(what: Append) -> Any:
            store.find_command = away
            raise UnknownOutcomeError("the cable was cut")

        async def away(key: Any) -> Any:
            store.find_command = find
            raise StoreUnavailableError("the disk is gone")

        store.append = lost
        key = new_id()
        with pytest.raises(UnknownOutcomeError) as caught:
            await app.commands.dispatch(PayOnce(purse_id=new_id()), command_id=key)
        assert caught.value.command_id == key


async def test_whether_it_took_effect_is_not_known_while_the_store_is_away_so_that_nothing_is_rejected_c1() -> None:
    """A rejection would say that it had no effect."""
    async with purses() as app:
        purse, key = new_id(), new_id()
        await app.commands.dispatch(Pay(purse_id=purse))
        store: Any = app.events
        find = store.find_command

        async def once(key: Any) -> Any:
            store.find_command = away
            return await find(key)

        async def away(key: Any) -> Any:
            raise StoreUnavailableError("the disk is gone")

        store.find_command = once
        with pytest.raises(StoreUnavailableError, match="the disk is gone"):
            await app.commands.dispatch(PayOnce(purse_id=purse), command_id=key)
        store.find_command = find
        with pytest.raises(PaidAlreadyError):
            await app.commands.dispatch(PayOnce(purse_id=purse), command_id=key)


async def test_a_command_inside_itself_is_refused_not_hung_c1() -> None:
    app = App()

    @app.command_handler
    async def pay(command: Pay, commands: CommandBus) -> int:
        return (await commands.dispatch(command)).result

    async with app:
        with pytest.raises(ProgrammingError, match="waits for itself"):
            await asyncio.wait_for(app.commands.dispatch(Pay(purse_id=new_id()), command_id=new_id()), 5)


class Label(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    label_text: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def length(self) -> int:
        return len(self.label_text)


class Write(Command[Label]):
    purse_id: UUID
    tags: frozenset[str] = frozenset()


def labels() -> App:
    app = App()

    @app.command_handler
    async def write(command: Write, purses: Repository[Purse]) -> Label:
        (await purses.get_or_new(command.purse_id)).record(Paid(amount=1))
        return Label.model_validate({"labelText": "first"})

    return app


async def test_a_result_with_aliases_and_computed_fields_is_answered_equally_c1() -> None:
    async with labels() as app:
        command, key = Write(purse_id=new_id()), new_id()
        first = await app.commands.dispatch(command, command_id=key)
        again = await app.commands.dispatch(command, command_id=key)
        assert (again.result, again.is_replay) == (first.result, True)


async def test_a_first_answer_that_the_result_type_of_today_does_not_know_is_an_error_that_shows_it_c1() -> None:
    async with purses() as app:
        purse, key = new_id(), new_id()
        await app.commands.dispatch(PayOnce(purse_id=purse), command_id=key)
        store: Any = app.events
        find = store.find_command

        async def of_older_code(key: Any) -> Any:
            return (await find(key))._replace(result='"one"')

        store.find_command = of_older_code
        with pytest.raises(DataError, match='The result of an earlier PayOnce is "one"'):
            await app.commands.dispatch(PayOnce(purse_id=purse), command_id=key)


def test_only_the_fields_that_were_given_make_a_command_the_same_c2() -> None:
    """So a field with a default can be added while callers still repeat what they sent before."""
    purse = UUID(int=1)
    assert fingerprint(Pay(purse_id=purse)) != fingerprint(Pay(purse_id=purse, amount=1))
    assert fingerprint(Write(purse_id=purse)) != fingerprint(Write(purse_id=purse, tags=frozenset()))


def test_a_command_with_a_set_differs_by_what_is_in_it_and_by_its_other_fields_c2() -> None:
    one = fingerprint(Write(purse_id=UUID(int=1), tags=frozenset("ab")))
    assert one == fingerprint(Write(purse_id=UUID(int=1), tags=frozenset("ba")))
    assert one != fingerprint(Write(purse_id=UUID(int=2), tags=frozenset("ab")))
    assert one != fingerprint(Write(purse_id=UUID(int=1), tags=frozenset("ac")))
    assert one != fingerprint(Write(purse_id=UUID(int=1), tags=frozenset("abc")))


class Tagged(Command):
    tags: set[int]


def test_the_order_in_which_a_set_was_filled_is_no_part_of_a_command_c2() -> None:
    one, other = (Tagged.model_validate({"tags": tags}) for tags in ([0, 8], [8, 0]))
    assert list(one.tags) != list(other.tags)
    assert fingerprint(one) == fingerprint(other) != fingerprint(Tagged(tags={0, 9}))


class Sorted(Command):
    shelves: list[set[int]] = []
    pairs: tuple[frozenset[str], int] = (frozenset(), 0)
    by_name: dict[str, set[int]] = {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Sorted(shelves=[{1}, {2}]), Sorted(shelves=[{2}, {1}])),
        (Sorted(shelves=[{1}]), Sorted(shelves=[{1}, set()])),
        (Sorted(pairs=(frozenset("a"), 1)), Sorted(pairs=(frozenset("a"), 2))),
        (Sorted(by_name={"a": {1}}), Sorted(by_name={"b": {1}})),
        (Sorted(by_name={"a": {1}}), Sorted(by_name={"a": {2}})),
        (Sorted(by_name={}), Sorted()),
    ],
)
def test_sets_inside_of_others_are_told_apart_as_well_c2(one: Sorted, other: Sorted) -> None:
    """Only their order within is of no account."""
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(Sorted.model_validate(one.model_dump(exclude_unset=True)))


class Say(Command):
    text: str


def test_a_command_that_cannot_be_written_down_is_refused_i1() -> None:
    with pytest.raises(InvalidInputError, match="Say cannot be written down"):
        fingerprint(Say.model_construct({"text"}, text="\ud800"))


class Shown(Command[int]):
    """`Pay`, as it is after it was given other names outside, and a value that follows of the others."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)
    purse_id: UUID
    amount: int = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        """What follows."""
        return 2 * self.amount


class ShownWithSet(Shown):
    tags: frozenset[str] = frozenset()


@pytest.mark.parametrize("shown", [Shown, ShownWithSet])
def test_names_outside_and_values_that_follow_are_no_part_of_a_command_c2(shown: type[Shown]) -> None:
    """The same fields, sent again after a deploy, are the same command."""
    purse = new_id()
    assert fingerprint(shown(purse_id=purse, amount=3)) == fingerprint(Pay(purse_id=purse, amount=3))


def test_a_command_with_a_set_is_the_same_command_in_every_process_c2() -> None:
    """The order of a set changes from process to process, the command does not."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_repetition import Write; from uuid import UUID\n"
        "from diptych.write.idempotency import fingerprint\n"
        "print(fingerprint(Write(purse_id=UUID(int=1), tags=frozenset('abcdefgh'))).hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(found) == 1
