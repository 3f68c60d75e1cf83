"""NATS in trouble, with a real server: it goes away, it is wiped, and its consumers die with messages in hand."""

from collections.abc import Iterator

import anyio
import nats
import pytest

from diptych.errors import PublishError
from diptych.reactions.messages import decode
from diptych.reactions.nats import JetStream, NatsPublisher, NatsSource
from diptych.reactions.source import Incoming
from diptych.testing.contracts.publishers import message
from tests.nats_servers import NatsServer, one_server, wait_until_ready
from tests.reactions.test_publisher_contract import all_of

pytestmark = pytest.mark.anyio

STREAM = JetStream("SHOP", "shop")


@pytest.fixture
def server() -> Iterator[NatsServer]:
    """One that the test may kill."""
    with one_server() as server:
        yield server


async def test_a_source_whose_broker_goes_away_says_so_and_goes_on(server: NatsServer) -> None:
    """No message and no broker are two things: the first means that all is taken."""
    publisher, source = NatsPublisher(server.url, STREAM), NatsSource(server.url, "SHOP", durable="d", seconds=2)
    await publisher.publish([message("a", 1)])
    (first,) = await source.fetch(10, 1.0)
    await source.done(first)
    assert list(await source.fetch(10, 0.1)) == []
    server.kill()
    with pytest.raises(PublishError, match="NATS"):
        await source.fetch(10, 0.3)
    server.start()
    wait_until_ready([server])
    await _until_published(publisher, 2)
    seen: list[int] = []  # the first may come again: what a consumer took is not synced by the server
    for _ in range(20):
        seen += [decode(each.raw).position for each in await _fetched(source, 1)]
        if 2 in seen:
            break
    assert seen in ([2], [1, 2])
    await source.close()
    await publisher.close()


async def test_a_broker_that_was_wiped_gets_its_stream_again(server: NatsServer) -> None:
    """The broker is never the system of record."""
    publisher, source = NatsPublisher(server.url, STREAM), NatsSource(server.url, "SHOP", durable="d")
    await publisher.publish([message("a", 1)])
    assert len(await _fetched(source, 1)) == 1
    client = await nats.connect(server.url)
    await client.jetstream().delete_stream("SHOP")
    await client.close()
    await _until_published(publisher, 2)
    assert [each.position for each in await all_of(server.url, "SHOP")] == [2]
    assert [decode(each.raw).position for each in await _fetched(source, 1)] == [2]
    await source.close()
    await publisher.close()


async def test_what_a_purged_stream_takes_for_a_repetition_is_not_taken_for_confirmed(server: NatsServer) -> None:
    """D2: it confirmed, and dropped, what was published again within its duplicate window."""
    publisher = NatsPublisher(server.url, STREAM._replace(duplicate_window=2.0))
    sent = [message("a", number) for number in range(1, 4)]
    await publisher.publish(sent[:2])
    await publisher.publish(sent[:2])  # a repetition, and there
    client = await nats.connect(server.url)
    await client.jetstream().purge_stream("SHOP")
    await client.close()
    with pytest.raises(PublishError, match="SHOP was purged"):
        await publisher.publish(sent)
    assert await all_of(server.url, "SHOP") == []
    with anyio.fail_after(15):
        while True:
            try:
                await publisher.publish(sent)
                break
            except PublishError:
                await anyio.sleep(0.1)
    assert await all_of(server.url, "SHOP") == sent
    await publisher.close()


async def test_two_systems_may_publish_under_one_id(server: NatsServer) -> None:
    """D1: the broker takes for a repetition what has the same Nats-Msg-Id, so it names the source, too."""
    publisher = NatsPublisher(server.url, STREAM)
    sent = [message("a", 1), message("a", 1)._replace(source="/billing", type="bill.due.v1")]
    await publisher.publish(sent)
    await publisher.publish(sent)
    assert await all_of(server.url, "SHOP") == sent
    await publisher.close()


async def test_who_follows_a_consumer_that_died_sees_what_that_had_in_hand_first(server: NatsServer) -> None:
    """Of one key in order: what was handed out and not acknowledged comes before what is newer."""
    publisher = NatsPublisher(server.url, STREAM)
    await publisher.publish([message("a", number) for number in range(1, 6)])
    dead, heir = (NatsSource(server.url, "SHOP", durable="d", redelivered_after=1.0) for _ in range(2))
    in_hand = await _fetched(dead, 5)
    await dead.done(in_hand[0])
    await publisher.publish([message("a", number) for number in range(6, 9)])
    seen = [decode(each.raw).position for each in await _fetched(heir, 7)]
    assert seen == [2, 3, 4, 5, 6, 7, 8]
    for each in (dead, heir):
        await each.close()
    await publisher.close()


async def test_a_consumer_that_takes_other_subjects_than_the_source_says_is_told(server: NatsServer) -> None:
    """What the new subject has would never come, and nobody would be told."""
    publisher = NatsPublisher(server.url, STREAM)
    await publisher.publish([message("a", 1)])
    before, after = (NatsSource(server.url, "SHOP", durable="d", subject=each) for each in ("shop.old.>", "shop.>"))
    assert list(await before.fetch(10, 0.1)) == []
    for _ in range(2):
        with pytest.raises(PublishError, match=r"the consumer d of SHOP takes shop\.old\.> and not shop\.>"):
            await after.fetch(10, 0.1)
    client = await nats.connect(server.url)
    await client.jetstream().delete_consumer("SHOP", "d")
    await client.close()
    assert len(await _fetched(after, 1)) == 1
    for each in (before, after):
        await each.close()
    await publisher.close()


async def _until_published(publisher: NatsPublisher, number: int) -> None:
    for last in (False, False, False, True):
        try:
            await publisher.publish([message("a", number)])
            return
        except PublishError:
            if last:
                raise


async def _fetched(source: NatsSource, wanted: int) -> list[Incoming]:
    found: list[Incoming] = []
    for _ in range(20):
        try:
            found += await source.fetch(100, 1.0)
        except PublishError:
            continue
        if len(found) >= wanted:
            break
    return found
