"""DP601 to DP607: what nearly breaks a rule, and what source alone can tell."""

from pathlib import Path

import pytest

import diptych.lint
from diptych.lint.facts import Facts, Fault
from diptych.lint.registry import inspect
from diptych.lint.rules.table import RULES
from diptych.lint.running import parse, run_registry

CASES = Path(diptych.lint.__file__).parent / "cases"
ORDERS = Path("examples/orders")

HEAD = 'from diptych import App, Command, DomainEvent, Module, Query\n\napp = App("memory:")\n\n\n'
PLACE = "class PlaceOrder(Command):\n    note: str\n\n\n"
HANDLE = "@app.command_handler\nasync def place(command: PlaceOrder) -> None: ...\n\n\n"


def rules_of(folder: Path, text: str, *, is_imported: bool = True) -> list[str]:
    (folder / "app.py").write_text(text)
    project, faults = parse({path.name: path.read_text() for path in folder.glob("*.py")})
    assert faults == []
    facts = inspect(None, folder) if is_imported else Fault("it hangs")
    assert is_imported is isinstance(facts, Facts), facts
    return [one.rule for one in run_registry(facts, project, RULES)]


def test_the_order_service_is_clean() -> None:
    facts = inspect("examples/orders/main.py", Path.cwd())
    assert isinstance(facts, Facts)
    assert facts.problems == ()
    project, _ = parse({path.as_posix(): path.read_text() for path in ORDERS.rglob("*.py")})
    assert run_registry(facts, project, RULES) == []
    assert run_registry(None, project, RULES) == []


@pytest.mark.parametrize("rule", ["DP601", "DP602"])
def test_without_the_app_source_tells_the_same(rule: str) -> None:
    at = CASES / rule / "wrong"
    project, _ = parse({path.name: path.read_text() for path in at.glob("*.py")})
    found = run_registry(Fault("it hangs"), project, RULES)
    assert [one.rule for one in found] == [rule]
    facts = inspect("app.py", at)
    assert [one.place for one in found] == [one.place for one in run_registry(facts, project, RULES)]


def test_a_message_that_others_inherit_from_needs_no_handler(tmp_path: Path) -> None:
    text = HEAD + "class OfOrder(Command):\n    note: str\n\n\nclass PlaceOrder(OfOrder): ...\n\n\n" + HANDLE
    assert rules_of(tmp_path, text) == []
    assert rules_of(tmp_path, text, is_imported=False) == []


def test_a_handler_of_another_app_counts(tmp_path: Path) -> None:
    other = 'other = App("memory:")\n\n\n'
    text = HEAD + other + PLACE + HANDLE.replace("app.", "other.")
    assert rules_of(tmp_path, text) == []


def test_a_module_that_is_not_included_is_named(tmp_path: Path) -> None:
    text = HEAD + 'part = Module("part")\n\n\n' + PLACE + HANDLE.replace("app.", "part.")
    (tmp_path / "app.py").write_text(text)
    project, _ = parse({"app.py": text})
    (found,) = run_registry(inspect(None, tmp_path), project, RULES)
    assert found.rule == "DP601"
    assert "app.include(...)" in found.hint
    assert found.notes


def test_a_near_name_that_is_handled_is_offered(tmp_path: Path) -> None:
    text = HEAD + PLACE + PLACE.replace("PlaceOrder", "PlaceOrders") + HANDLE
    (tmp_path / "app.py").write_text(text)
    project, _ = parse({"app.py": text})
    (found,) = run_registry(inspect(None, tmp_path), project, RULES)
    assert "Did you mean `PlaceOrder`" in found.hint


def test_source_alone_says_nothing_where_a_handler_is_registered_by_a_call(tmp_path: Path) -> None:
    text = HEAD + PLACE + HANDLE + "class Other(Query[int]): ...\n\n\napp.queries.register(Other, object())\n"
    assert rules_of(tmp_path, text, is_imported=False) == []


def test_two_apps_may_each_handle_a_message(tmp_path: Path) -> None:
    again = HANDLE.replace("app.", "other.").replace("place(", "place_too(")
    text = HEAD + 'other = App("memory:")\n\n\n' + PLACE + HANDLE + again
    assert rules_of(tmp_path, text) == []
    assert rules_of(tmp_path, text, is_imported=False) == []


def test_a_handler_in_each_of_two_branches_is_one(tmp_path: Path) -> None:
    branch = "    @app.command_handler\n    async def {}(command: PlaceOrder) -> None: ...\n"
    text = HEAD + PLACE + "if app.mode:\n" + branch.format("one") + "else:\n" + branch.format("other")
    assert rules_of(tmp_path, text) == []
    assert rules_of(tmp_path, text, is_imported=False) == []


def test_a_script_with_an_app_of_its_own_need_not_be_imported(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(HEAD + PLACE + HANDLE)
    assert rules_of(tmp_path, HEAD) == []


def test_handlers_of_tests_need_not_be_imported(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("from app import app\nfrom diptych import Command\n\n\n" + PLACE + HANDLE)
    assert rules_of(tmp_path, HEAD) == []
