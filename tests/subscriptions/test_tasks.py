"""What a saga or a reaction owes, as rows hold it: keys of any length, errors of any kind."""

from typing import Any

import pytest

from diptych.clock import new_id
from diptych.subscriptions.tasks import (
    PARKED,
    Task,
    as_key,
    as_text,
    failed_first,
    full_key,
    split_key,
    start_of,
    tasks_table,
    undone,
)


def test_a_key_is_kept_as_it_is_unless_it_is_very_long() -> None:
    for text in ("", "a", "x" * 1000, "é" * 500):
        assert as_key(text) == text


@pytest.mark.parametrize("text", ["x" * 1001, "é" * 501, "x" * 899 + "é" * 99])
def test_a_very_long_key_is_its_beginning_and_a_digest(text: str) -> None:
    """No two of them are one, and no index takes more."""
    short = as_key(text)
    assert len(short.encode()) <= 1000
    assert short.partition("~")[0] == text.encode()[:900].decode(errors="ignore")
    assert short != as_key(text + "y")
    assert short == as_key(text)


def test_a_key_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="holds a NUL, which no store can keep in a key"):
        as_key("a\0b")


@pytest.mark.parametrize("key", ["", "7", "a/b", "a%2Fb", "tenant:acme/7", "tenant:/7"])
@pytest.mark.parametrize("tenant", ["", "acme", "a/b", "a%2Fb", "tenant:acme"])
def test_a_full_key_is_of_one_tenant_and_one_key(tenant: str, key: str) -> None:
    assert split_key(full_key(tenant, key)) == (tenant, key)


def test_a_key_without_a_tenant_is_as_it_is() -> None:
    assert full_key("", "a/b") == "a/b"
    assert full_key("acme", "a/b") == "tenant:acme/a/b"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no ink"), "ValueError: no ink"),
        (KeyError("a\0b"), "KeyError: 'a\\x00b'"),
        (ValueError("a\0b"), "ValueError: a?b"),
        (ValueError("half \ud800"), "ValueError: half ?"),
        (ValueError("x" * 3000), "ValueError: " + "x" * 1988),
    ],
)
def test_an_error_is_a_text_that_every_store_keeps(error: Exception, text: str) -> None:
    assert as_text(error) == text


def task(number: int, error: str = "", **more: Any) -> Task:
    return Task(new_id(), 0, "event", "key", number, "Do", state=PARKED, error=error, **more)


def test_of_what_was_put_aside_the_one_that_failed_is_told() -> None:
    """Or the first, where none says why."""
    one, two, three = task(1), task(2, "no ink"), task(3, "no paper")
    assert failed_first([one, two, three]) == [two]
    assert failed_first([one, task(4)]) == [one]
    assert failed_first([]) == []


def test_what_is_not_done_is_said_with_why_as_far_as_it_is_known() -> None:
    assert undone("Ship", "7", "") == "Ship of 7 is not done yet"
    assert undone("Ship", "7", "no ink") == "Ship of 7 is not done, and is tried again: no ink"


def test_tables_and_beginnings_are_named_by_their_duty() -> None:
    table = tasks_table("SendReceipts")
    assert (table.name, table.key, table.indexes) == (
        "send_receipts_tasks",
        ("id",),
        (("lane", "state", "due_at"), ("key", "state")),
    )
    one = task(1, "no ink", due_at=7)
    assert table.build(one._asdict()) == one
    assert start_of("a") == start_of("a") != start_of("b")
    with pytest.raises(ValueError, match="Rechnung é: the table"):
        tasks_table("Rechnung é")
