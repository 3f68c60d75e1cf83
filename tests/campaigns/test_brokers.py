"""The short form of the campaign of brokers, and whether its judge sees what is wrong."""

from random import Random

import pytest

from tests.campaigns import brokers
from tests.campaigns.brokers import judge, message
from tests.nats_servers import a_cluster

pytestmark = pytest.mark.anyio


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_leaders_that_are_killed_lose_nothing_and_mix_nothing_up() -> None:
    """D1, D2"""
    with a_cluster() as cluster:
        outcome = await brokers.publish_under_kills(cluster, 2, Random(1))
    assert outcome.kills == 2
    assert outcome.messages > 100


def test_the_judge_sees_a_message_that_is_lost() -> None:
    sent = [message("a", 1), message("a", 2)]
    with pytest.raises(AssertionError, match="1 of 2 confirmed messages are lost"):
        judge(sent, sent[:1])


def test_the_judge_sees_messages_out_of_order() -> None:
    """And forgives a repetition."""
    sent = [message("a", 1), message("a", 2)]
    judge(sent, [sent[0], sent[1], sent[0]])
    with pytest.raises(AssertionError, match="a: 2 came after None"):
        judge(sent, [sent[1], sent[0], sent[1]])
