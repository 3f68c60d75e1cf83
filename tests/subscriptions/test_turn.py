"""What one turn of a lane writes: the last word on each row, and nothing where there is nothing to say."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from diptych.clock import new_id
from diptych.events.recorded import RecordedEvent
from diptych.store.batches import Answer, RowGuard
from diptych.stream import StreamName
from diptych.subscriptions.tasks import PARKED, WAITING, Task, tasks_table
from diptych.subscriptions.turn import Turn
from tests.projections import shop

NOW: Final = 1_700_000_000_000_000
TABLE: Final = tasks_table("send_receipt")
STREAM: Final = StreamName("", "Receipt", new_id())
ONE: Final = Task(new_id(), 0, "command", "key", 1000, "Do", attempts=2)


def turn(*, is_real: bool = True) -> Turn:
    return Turn(0, NOW, TABLE, is_real=is_real)


WRITES: Final[dict[str, Callable[[Turn], object]]] = {
    "a task": lambda turn: turn.put(ONE),
    "a task that is owed no more": lambda turn: turn.drop(ONE.id),
    "an event": lambda turn: turn.record(STREAM, shop.codec().encode(shop.added())),
    "a row": lambda turn: turn.change(TABLE, "key", "row"),
    "an answer": lambda turn: setattr(turn, "answer", Answer(1, "done")),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_turn_with_anything_to_write_is_not_empty(write: Callable[[Turn], object]) -> None:
    one = turn()
    assert one.is_empty
    write(one)
    assert not one.is_empty


def test_the_last_word_on_a_task_counts() -> None:
    one = turn()
    one.put(ONE)
    one.drop(ONE.id)
    (changes,) = one.changes()
    assert (list(changes.upserts), list(changes.deletes)) == ([], [(ONE.id,)])
    one.put(ONE)
    (changes,) = one.changes()
    assert (list(changes.upserts), list(changes.deletes)) == ([ONE._replace(changed_at=NOW)], [])


def test_the_last_word_on_a_row_counts_and_nothing_is_said_of_tasks() -> None:
    one = turn()
    for row in ("first", "second"):
        one.change(TABLE, "key", row)
    (changes,) = one.changes()
    assert list(changes.upserts) == ["second"]


def test_what_is_tried_again_is_due_after_a_pause_and_counts_its_attempts() -> None:
    one = turn()
    one.again(ONE._replace(state=PARKED), OSError("dead"), 1.5)
    (task,) = one.tasks.values()
    assert (task.state, task.attempts, task.due_at, task.error) == (WAITING, 3, NOW + 1_500_000, "OSError: dead")


def test_what_is_put_aside_says_why_and_how_often_it_was_tried() -> None:
    one = turn()
    one.park(ONE, OSError("dead"))
    (task,) = one.tasks.values()
    assert (task.state, task.attempts, task.error) == (PARKED, 3, "OSError: dead")


def test_events_of_one_stream_are_one_write_in_their_order() -> None:
    one, events = turn(), [shop.codec().encode(event) for event in (shop.placed(), shop.added())]
    for event in events:
        one.record(STREAM, event)
    (write,) = one.writes()
    assert (write.stream, list(write.events)) == (STREAM, events)


def test_it_rests_on_what_failed_having_had_no_effect() -> None:
    """P5"""
    one = turn()
    one.rests_on([ONE])
    assert list(one.guards) == [RowGuard(TABLE, (ONE.id,), "state", WAITING)]


@pytest.mark.parametrize(("is_real", "time"), [(True, 5), (False, NOW)])
def test_timers_count_from_the_event_by_the_machines_clock_and_from_now_by_another(is_real: bool, time: int) -> None:
    event: Any = SimpleNamespace(row=SimpleNamespace(recorded_at=5))
    assert turn(is_real=is_real).since(cast(RecordedEvent, event)) == time
