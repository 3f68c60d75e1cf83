"""The short form of the campaign of brokers, and whether its judge sees what is wrong."""

from pathlib import Path
from random import Random

import pytest

from diptych import new_id
from tests.campaigns import away, brokers
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


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_commands_go_on_while_the_broker_is_away(tmp_path: Path) -> None:
    """D1, D3"""
    with a_cluster() as cluster:
        outcome = await away.endure(f"sqlite:///{tmp_path}/counters.db", cluster, 1.0)
    assert outcome.commands > 100


def test_the_judge_sees_what_was_lost_or_turned_round_while_the_broker_was_away() -> None:
    one = new_id()
    sent = [message(str(one), number)._replace(data=f'{{"value":{number}}}') for number in (1, 2, 3)]
    away.judge({one: 3}, [*sent, sent[0]])
    for wrong in (sent[:2], sent[1:], [sent[1], sent[0], sent[2]]):
        with pytest.raises(AssertionError):
            away.judge({one: 3}, wrong)


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
