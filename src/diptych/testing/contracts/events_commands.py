"""The contract of command ids: a command takes effect once, and its first answer is kept."""

import asyncio

import pytest

from diptych.errors import WrongExpectedVersionError
from diptych.store.protocols import Append, Appended, CommandKey, CommandKeyTaken, EventStore, StreamWrite
from diptych.stream import ANY, NO_STREAM, Expected, StreamName
from diptych.testing.contracts.events_samples import EventStoreHarness, event, key, record, stream, to


def command(of: CommandKey, name: StreamName, expected: Expected = ANY, *, result: str = "null") -> Append:
    """An append of one event, made by this command."""
    return Append([StreamWrite(name, expected, [event("Placed")])], command=record(of, result))


class CommandsContract(EventStoreHarness):
    """What `find_command` and a second append of the same command answer."""

    async def test_a_second_append_of_a_command_is_given_the_first_answer(self, store: EventStore) -> None:
        """C1"""
        used, name, other = key(), stream(), stream()
        append = Append(
            [StreamWrite(name, NO_STREAM, [event("Placed"), event("Paid")]), StreamWrite(other, ANY, [event("Seen")])],
            command=record(used, '{"id": "ü"}', b"\x00\xff"),
        )
        first = await store.append(append)
        with pytest.raises(CommandKeyTaken) as taken:
            await store.append(command(used, stream()))
        stored = taken.value.stored
        assert (stored.position, stored.event_id) == (first.position, first.event_id)
        assert (stored.hash, stored.result) == (b"\x00\xff", '{"id": "ü"}')
        assert dict(stored.streams) == {name: 2, other: 1}
        assert stored.event_types == {"Placed", "Paid", "Seen"}
        assert await store.find_command(used) == stored
        assert (await store.head()).position == 3

    async def test_the_id_is_judged_before_the_versions(self, store: EventStore) -> None:
        """C1: a command that took effect is never answered with a rejection."""
        used, name = key(), stream()
        await store.append(command(used, name, NO_STREAM))
        with pytest.raises(CommandKeyTaken):
            await store.append(command(used, name, NO_STREAM))

    async def test_a_refused_command_is_not_remembered(self, store: EventStore) -> None:
        """C1: rejections are not remembered."""
        unused, name = key(), stream()
        await store.append(to(name, event()))
        with pytest.raises(WrongExpectedVersionError):
            await store.append(command(unused, name, NO_STREAM))
        assert await store.find_command(unused) is None
        assert isinstance(await store.append(command(unused, name, 1)), Appended)

    async def test_an_unknown_command_is_not_found(self, store: EventStore) -> None:
        """C1"""
        assert await store.find_command(key()) is None

    async def test_an_id_belongs_to_its_tenant_user_and_type(self, store: EventStore) -> None:
        """C1"""
        used = key()
        await store.append(command(used, stream()))
        others = [
            key(tenant="acme", id=used.command_id),
            key(user="bob", id=used.command_id),
            key(user="", id=used.command_id),
            key(type="CancelOrder", id=used.command_id),
        ]
        for other in others:
            await store.append(command(other, stream(), result=f'"{other.user_id}"'))
        for other in others:
            found = await store.find_command(other)
            assert found is not None
            assert found.result == f'"{other.user_id}"'

    async def test_of_many_dispatches_at_once_one_takes_effect(self, store: EventStore) -> None:
        """C1"""
        used = key()
        answers = await asyncio.gather(
            *[store.append(command(used, stream(), result=str(turn))) for turn in range(20)], return_exceptions=True
        )
        winners = [turn for turn, answer in enumerate(answers) if isinstance(answer, Appended)]
        assert len(winners) == 1
        results = {answer.stored.result for answer in answers if isinstance(answer, CommandKeyTaken)}
        assert results == {str(winners[0])}
        assert (await store.head()).position == 1

    async def test_a_command_without_events_is_remembered_too(self, store: EventStore) -> None:
        """C1"""
        used = key()
        await store.append(to(stream(), event()))
        await store.append(Append([], command=record(used, "7")))
        found = await store.find_command(used)
        assert found is not None
        assert (found.result, found.position, dict(found.streams), found.event_types) == ("7", 1, {}, frozenset())

    async def test_many_commands_at_once_are_all_remembered(self, store: EventStore) -> None:
        """C1"""
        keys = [key() for _ in range(100)]
        await asyncio.gather(*[store.append(command(each, stream(), result=str(each.command_id.int))) for each in keys])
        for each in keys:
            found = await store.find_command(each)
            assert found is not None
            assert found.result == str(each.command_id.int)
