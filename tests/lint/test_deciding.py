"""What an aggregate reaches for, in the ways that people write it, and what looks like it and is allowed."""

import pytest

from diptych.lint.fixing import fixed
from tests.lint.sources import SERVICE, found, ids, indented


def decision(body: str, more: str = "", before: str = "") -> str:
    return f"{before}\n\nclass Basket(Aggregate):\n    def fill(self{more}) -> None:\n{indented(body)}"


def applying(body: str, before: str = "") -> str:
    head = "class Basket(Aggregate):\n    @on\n    def _filled(self, event: Placed) -> None:\n"
    return f"{before}\n\n{head}{indented(body)}"


@pytest.mark.parametrize(
    "code",
    [
        decision("httpx.post('https://x.example', json={})"),
        decision("web.post('https://x.example')", before="import requests as web"),
        decision("fetch('https://x.example')", before="from urllib.request import urlopen as fetch"),
        decision("with httpx.Client() as client:\n    client.get('https://x.example')"),
        decision("return [httpx.get(url) for url in urls]", ", urls: list[str]"),
        decision("later = lambda: open('prices.csv')"),
        decision("Path('prices.csv').read_text()", before="from pathlib import Path"),
        decision(
            "price = lookup()", before="def lookup():\n    return deeper()\n\ndef deeper():\n    return open('x')"
        ),
        decision("client.post('x')", ", client: httpx.Client"),
        decision("client.post('x')", ", client: 'httpx.Client | None'"),
    ],
)
def test_io_in_a_decision_is_found(code: str) -> None:
    assert ids(code) == ["DP301"]


def test_io_behind_a_function_of_another_module_is_found_with_its_way() -> None:
    (one,) = found(
        decision("price()", before="from prices import price"),
        prices="import httpx\n\ndef price():\n    return httpx.get('x')\n",
    )
    assert one.rule == "DP301"
    assert [note.place.path for note in one.notes] == ["prices.py"]


@pytest.mark.parametrize(
    "code",
    [
        decision("open()", ", open: object"),
        decision("for httpx in things:\n    httpx.get('x')", ", things: list[object]"),
        decision("httpx = {}\nhttpx.get('x')"),
        decision("self.lines.get('x')"),
        decision("client.get('x')", ", client: dict[str, int]"),
        decision("open('x')", before="def open(name):\n    return name"),
        decision("limits = httpx.Timeout(5)"),
        decision("at = datetime.fromtimestamp(0, UTC)"),
        decision("chosen = Random(7).choice([1, 2])", before="from random import Random"),
        decision("id = new_id()"),
        decision("self._next()\n", before="") + "\n    def _next(self) -> int:\n        return 1\n",
    ],
)
def test_what_only_looks_like_it_is_none(code: str) -> None:
    assert ids(code) == []


@pytest.mark.parametrize(
    "body",
    [
        "self.id_of_it = uuid4()",
        "self.at = datetime.now(UTC)",
        "self.at = time.time()",
        "self.keys = [new_id() for _ in range(2)]",
        "self.key = make()",
    ],
)
def test_a_value_made_anew_in_apply_is_found(body: str) -> None:
    assert ids(applying(body, before="def make():\n    return uuid4()")) == ["DP302"]


def test_a_value_of_the_event_is_none() -> None:
    assert ids(applying("self.cents = event.cents")) == []


@pytest.mark.parametrize(
    "body",
    ["at = datetime.now(UTC)", "at = time.time()", "key = uuid4()", "at = clock()"],
)
def test_a_clock_in_a_decision_is_found(body: str) -> None:
    assert ids(decision(body, before="from time import monotonic as clock")) == ["DP307"]


def test_a_method_that_calls_one_that_asks_the_clock_is_told_once() -> None:
    code = decision("self._now()") + "\n    def _now(self) -> float:\n        return time.time()\n"
    assert ids(code) == ["DP307"]


@pytest.mark.parametrize(
    ("more", "new"), [(", clock: Clock", "clock.now()"), (", command: Place", "command.timestamp")]
)
def test_now_becomes_the_time_that_was_passed_in(more: str, new: str) -> None:
    code = decision("at = datetime.now(UTC)", more)
    text, done = fixed(SERVICE + code, found(code))
    assert f"at = {new}\n" in text
    assert len(done) == 1


def test_a_naive_now_is_mended_only_when_asked_for() -> None:
    code = decision("at = datetime.now()", ", clock: Clock")
    assert fixed(SERVICE + code, found(code))[1] == []


@pytest.mark.parametrize(
    "code",
    [
        decision("customer.note(1)", ", customer: Customer"),
        decision("customer.record(Placed(cents=1))", ", customer: Customer"),
        decision("charge(customer)", ", customer: Customer", "def charge(customer: Customer):\n    customer.note(1)"),
        decision("customers.add(customer)", ", customers: Repository[Customer], customer: Customer"),
    ],
)
def test_another_aggregate_is_found(code: str) -> None:
    assert "DP106" in ids(code)


@pytest.mark.parametrize(
    "code",
    [
        decision("cents = customer.cents", ", customer: Order"),
        decision("self.record(Placed(cents=1))"),
        decision("other.fill()", ", other: 'Basket'"),
        decision("return Customer(id)", ", id: UUID"),
    ],
)
def test_looking_at_another_aggregate_is_none(code: str) -> None:
    assert ids(code) == []


def test_an_async_method_is_found_and_a_static_one_is_not_mistaken() -> None:
    assert ids("class Basket(Aggregate):\n    async def fill(self) -> None:\n        pass\n") == ["DP305"]
    assert ids("class Basket:\n    async def fill(self) -> None:\n        pass\n") == []
