"""State that changes outside `@on`, and `@on` methods that refuse; and what looks like it and is allowed."""

import pytest

from tests.lint.sources import ids, indented

HEAD = """\
class Basket(Aggregate):
    count: int = 0
    lines: list[int] = []
    names: dict[str, int] = {}
    money: Wallet

    def _must_be_open(self) -> None:
        if self.count > 5:
            raise ValueError("full")

"""
WALLET = "class Wallet:\n    def add(self, n: int) -> 'Wallet':\n        return self\n\n\n"


def basket(*methods: str) -> str:
    return WALLET + HEAD + "\n".join(indented(each, 4) for each in methods)


def decision(body: str) -> str:
    return f"def fill(self, n: int) -> None:\n{indented(body, 4)}"


def apply(body: str) -> str:
    return f"@on\ndef _filled(self, event: Placed) -> None:\n{indented(body, 4)}"


@pytest.mark.parametrize(
    "body",
    [
        "self.count = n",
        "self.count += n",
        "self.count, other = n, 1",
        "self.lines.append(n)",
        "self.lines[0] = n",
        "self.names['a'] = n",
        "self.names.update(a=n)",
        "del self.names['a']",
        "for each in range(n):\n    self.lines.append(each)",
    ],
)
def test_state_changed_in_a_decision_is_found(body: str) -> None:
    assert ids(basket(decision(body))) == ["DP304"]


def test_state_changed_in_a_class_method_is_found() -> None:
    method = (
        "@classmethod\ndef open(cls, id: UUID) -> 'Basket':\n    made = cls(id)\n    made.count = 1\n    return made"
    )
    assert ids(basket(method)) == ["DP304"]


def test_state_changed_by_a_command_handler_is_found() -> None:
    handler = (
        "\n@app.command_handler\nasync def place(command: Place, orders: Repository[Order]) -> None:\n"
        "    order = await orders.get(command.id)\n    order.cents = command.cents\n"
    )
    assert ids(handler) == ["DP304"]


@pytest.mark.parametrize(
    "body",
    [
        "self.record(Placed(cents=n))",
        "count = self.count + n",
        "lines = [*self.lines]\nlines.append(n)",
        "money = self.money.add(n)",
        "first: int",
        "names = dict(self.names)\nnames['a'] = n",
    ],
)
def test_what_changes_no_state_is_none(body: str) -> None:
    assert ids(basket(decision(body))) == []


def test_a_helper_that_only_on_methods_call_is_part_of_them() -> None:
    code = basket(apply("self._count(event.cents)"), "def _count(self, n: int) -> None:\n    self.count += n")
    assert ids(code) == []


def test_a_helper_that_decisions_call_too_is_none_of_them() -> None:
    helper = "def _count(self, n: int) -> None:\n    self.count += n"
    assert ids(basket(apply("self._count(1)"), decision("self._count(n)"), helper)) == ["DP304"]


def test_a_helper_of_on_methods_makes_no_values() -> None:
    helper = "def _make(self) -> UUID:\n    return uuid4()"
    assert ids(basket(apply("self.count = self._make()"), helper)) == ["DP302"]


@pytest.mark.parametrize(
    "body",
    ["raise ValueError", "assert event.cents", "if self.count:\n    raise ValueError('no')", "self._must_be_open()"],
)
def test_an_on_method_that_refuses_is_found(body: str) -> None:
    assert ids(basket(apply(body), decision("self._must_be_open()"))) == ["DP303"]


def test_a_decision_may_refuse() -> None:
    assert ids(basket(decision("self._must_be_open()"), apply("self.count = event.cents"))) == []


def test_a_static_method_has_no_state() -> None:
    method = "@staticmethod\ndef parse(text: list[str]) -> int:\n    text[0] = 'a'\n    return 1"
    assert ids(basket(method)) == []
