"""P6: whether what is said of a worker's share is a reason to do something at once."""

from types import SimpleNamespace
from typing import Any, Final, cast

from diptych.projections.carrying import Carrier
from diptych.projections.holding import Holding
from diptych.projections.mending import Mender
from diptych.subscriptions.spreading import Share
from diptych.telemetry.observer import QUIET

ALL: Final = frozenset(range(4))


def holding(*lanes: int) -> Holding:
    """What has these lanes."""
    carrier: Any = SimpleNamespace(lanes=dict.fromkeys(lanes), work=SimpleNamespace(tenure=None))
    return Holding(cast(Carrier, carrier), cast(Mender, None), lambda: None, QUIET)


def test_the_same_again_is_no_news() -> None:
    one = holding(0, 1)
    share = Share(frozenset({0, 1}), free=frozenset({0, 1}))
    assert one.is_given(share)
    assert not one.is_given(share)
    assert one.coming == frozenset()


def test_lanes_that_are_free_are_news_until_they_are_claimed() -> None:
    """A claim that got nothing is asked for again."""
    one, share = holding(0), Share(ALL, free=frozenset({0, 1}))
    for _ in range(2):
        assert one.is_given(share)
        assert one.coming == {1}


def test_lanes_that_are_anothers_to_have_are_news_until_they_are_let_go_of() -> None:
    one, share = holding(), Share(frozenset({0}), over=frozenset({1}))
    for _ in range(2):
        assert one.is_given(share)


def test_another_share_is_news_though_nothing_of_it_is_free_yet() -> None:
    """What was held beyond it is let go of."""
    one = holding(0, 1)
    assert one.is_given(Share(frozenset({0, 1})))
    assert one.is_given(Share(frozenset({0})))


def test_what_is_in_doubt_is_known_to_be() -> None:
    one = holding()
    assert not one.is_in_doubt
    one.doubt()
    assert one.is_in_doubt
