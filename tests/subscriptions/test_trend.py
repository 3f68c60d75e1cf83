"""Whether it catches up, from histories that are made up."""

import pytest

from diptych.subscriptions.trend import History, Trend, duration


def trend_of(*samples: tuple[float, int, int], window: float = 60.0) -> Trend | None:
    """What a history of (time, head, position) says."""
    history = History(window)
    for sample in samples:
        history.saw(*sample)
    return history.trend


def test_one_look_says_nothing() -> None:
    assert trend_of() is None
    assert trend_of((0, 100, 20)) is None


def test_it_catches_up_when_more_is_applied_than_arrives() -> None:
    trend = trend_of((0, 1000, 0), (10, 1100, 600))
    assert trend == Trend(60.0, 10.0, "catching up", 10.0)
    assert trend.sentence == (
        "60.0 events a second are applied and 10.0 arrive: it will have caught up in 10 s"
    )  # 500 wait, and 50 fewer each second


def test_it_never_catches_up_when_more_arrives_than_is_applied() -> None:
    trend = trend_of((0, 1000, 0), (10, 2000, 200))
    assert trend is not None
    assert (trend.direction, trend.eta) == ("falling behind", None)
    assert trend.sentence.endswith("it will never catch up at this rate")


def test_what_stands_still_never_catches_up() -> None:
    """Nothing arrives, nothing is applied, something waits."""
    trend = trend_of((0, 10, 4), (30, 10, 4))
    assert trend == Trend(0.0, 0.0, "steady", None)


def test_who_gains_a_single_event_catches_up() -> None:
    assert trend_of((0, 10, 0), (10, 10, 1)) == Trend(0.1, 0.0, "catching up", 90.0)


def test_nothing_waits_when_nothing_happens() -> None:
    trend = trend_of((0, 10, 10), (5, 10, 10))
    assert trend == Trend(0.0, 0.0, "steady", 0.0)
    assert trend.sentence.endswith("nothing waits")


def test_as_fast_as_events_arrive_is_steady_and_never_there() -> None:
    trend = trend_of((0, 1000, 900), (10, 2000, 1900))
    assert trend == Trend(100.0, 100.0, "steady", None)


@pytest.mark.parametrize(
    ("applied", "direction"),
    [(379, "falling behind"), (380, "steady"), (400, "steady"), (420, "steady"), (421, "catching up")],
)
def test_less_than_a_twentieth_of_what_arrived_is_no_direction(applied: int, direction: str) -> None:
    trend = trend_of((0, 1000, 900), (10, 1400, 900 + applied))
    assert trend is not None
    assert trend.direction == direction


def test_a_burst_is_not_a_rate_at_which_events_arrive() -> None:
    """10,000 events came at once after a quiet time: it takes a while, but there is an end to it."""
    quiet = [(float(second), 50, 50) for second in range(0, 30, 5)]
    trend = trend_of(*quiet, (30, 10_050, 550), (35, 10_050, 1550), (40, 10_050, 2550))
    assert trend == Trend(200.0, 0.0, "catching up", 37.5)


def test_the_first_look_at_a_burst_says_nothing_yet() -> None:
    assert trend_of((0, 50, 50), (5, 50, 50), (10, 10_050, 550)) is None


def test_who_had_nothing_to_do_says_nothing_of_how_fast_he_is() -> None:
    """An hour without events would make the rate look like nothing."""
    trend = trend_of((0, 0, 0), (50, 0, 0), (55, 600, 100), (60, 700, 600))
    assert trend == Trend(100.0, 20.0, "catching up", 1.25)


def test_only_the_window_counts() -> None:
    """It was fast, and is not any more."""
    before = [(float(second), 100_000, second * 1000) for second in range(0, 50, 10)]
    after = [(float(second), 100_000, 40_000) for second in range(50, 120, 10)]
    trend = trend_of(*before, *after)
    assert trend is not None
    assert trend.eta is None


def test_what_is_just_as_old_as_the_window_counts() -> None:
    assert trend_of((0, 100, 0), (60, 100, 60)) == Trend(1.0, 0.0, "catching up", 40.0)


def test_rows_that_are_built_again_start_a_new_history() -> None:
    """The position goes back; as a rate that would be negative."""
    assert trend_of((0, 100, 100), (5, 100, 100), (10, 100, 0)) is None
    trend = trend_of((0, 100, 100), (5, 100, 100), (10, 100, 0), (15, 100, 50))
    assert trend == Trend(10.0, 0.0, "catching up", 5.0)


def test_a_log_that_was_put_back_starts_a_new_history() -> None:
    assert trend_of((0, 100, 90), (5, 60, 90)) is None


def test_after_a_restart_nothing_is_known_of_the_time_before() -> None:
    """A new process has a new history: it says nothing until it has looked twice."""
    assert trend_of((1000, 5000, 100)) is None
    trend = trend_of((1000, 5000, 100), (1005, 5000, 2600))
    assert trend == Trend(500.0, 0.0, "catching up", 4.8)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *[(0.44, "0.4 s"), (9.9, "9.9 s"), (10, "10 s"), (12.2, "12 s"), (119, "119 s")],
        *[(120, "2 min"), (150, "2 min"), (7199, "120 min"), (7200, "2.0 h"), (9000, "2.5 h"), (172_799, "48.0 h")],
        *[(172_800, "2 days"), (400_000, "5 days"), (1e9, "11,574 days")],
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
