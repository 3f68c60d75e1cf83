"""DP601 to DP604: what nearly breaks a rule, and is none."""

import sys
from pathlib import Path

from diptych.lint.facts import Facts
from diptych.lint.findings import Finding
from diptych.lint.registry import ask
from diptych.lint.rules.table import RULES
from diptych.lint.running import parse, run

HEAD = 'from diptych import App, Command, DomainEvent, Module, Query\n\napp = App("memory:")\n\n\n'
PLACE = "class PlaceOrder(Command):\n    note: str\n\n\n"
HANDLE = "@app.command_handler\nasync def place(command: PlaceOrder) -> None: ...\n\n\n"


def facts_of(folder: Path, app: str) -> Facts:
    facts = ask([sys.executable, "-B", "-m", "diptych.cli.inspecting", app], folder)
    assert isinstance(facts, Facts), facts
    return facts


def found(folder: Path, text: str) -> list[Finding]:
    (folder / "app.py").write_text(text)
    project, faults = parse({path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.py")})
    assert faults == []
    return run(project, RULES, facts_of(folder, "app.py"))


def rules_of(folder: Path, text: str) -> list[str]:
    return [one.rule for one in found(folder, text)]


def test_the_order_service_is_clean() -> None:
    project, _ = parse({path.as_posix(): path.read_text() for path in Path("examples").rglob("*.py")})
    facts = facts_of(Path.cwd(), "examples/orders/main.py")
    assert facts.problems == ()
    rules = [one for one in RULES if one.id.startswith(("DP4", "DP6"))]  # those that are off by default, too
    assert run(project, rules, facts) == []


def test_a_message_that_others_inherit_from_needs_no_handler(tmp_path: Path) -> None:
    text = HEAD + "class OfOrder(Command):\n    note: str\n\n\nclass PlaceOrder(OfOrder): ...\n\n\n" + HANDLE
    assert rules_of(tmp_path, text) == []


def test_a_handler_of_another_app_counts(tmp_path: Path) -> None:
    other = 'other = App("memory:")\n\n\n'
    text = HEAD + other + PLACE + HANDLE.replace("app.", "other.")
    assert rules_of(tmp_path, text) == []


def test_a_near_name_that_is_handled_is_offered(tmp_path: Path) -> None:
    text = HEAD + PLACE + PLACE.replace("PlaceOrder", "PlaceOrders") + HANDLE
    (one,) = found(tmp_path, text)
    assert one.rule == "DP601"
    assert "`PlaceOrder` is handled: did you mean that?" in one.hint


def test_two_apps_may_each_handle_a_message(tmp_path: Path) -> None:
    again = HANDLE.replace("app.", "other.").replace("place(", "place_too(")
    text = HEAD + 'other = App("memory:")\n\n\n' + PLACE + HANDLE + again
    assert rules_of(tmp_path, text) == []


def test_a_handler_in_each_of_two_branches_is_one(tmp_path: Path) -> None:
    branch = "    @app.command_handler\n    async def {}(command: PlaceOrder) -> None: ...\n"
    text = HEAD + PLACE + "if app.mode:\n" + branch.format("one") + "else:\n" + branch.format("other")
    assert rules_of(tmp_path, text) == []


def test_a_script_with_an_app_of_its_own_need_not_be_imported(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(HEAD + PLACE + HANDLE)
    assert rules_of(tmp_path, HEAD) == []


def test_handlers_of_tests_need_not_be_imported(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("from app import app\nfrom diptych import Command\n\n\n" + PLACE + HANDLE)
    assert rules_of(tmp_path, HEAD) == []


def test_tests_may_handle_the_messages_of_the_app_in_apps_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    own = 'from app import PlaceOrder\nfrom diptych import App\n\napp = App("memory:")\n\n\n'
    (tmp_path / "tests" / "test_it.py").write_text(own + HANDLE)
    assert rules_of(tmp_path, HEAD + PLACE + HANDLE) == []


def test_a_second_handler_in_another_file_is_found_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text("from app import PlaceOrder, app\n\n\n" + HANDLE.replace("place(", "again("))
    text = "import importlib\n\n" + HEAD + PLACE + HANDLE + 'importlib.import_module("more")\n'
    (one,) = found(tmp_path, text)
    assert (one.rule, one.place.path, one.notes[0].place.path) == ("DP602", "more.py", "app.py")


def test_a_second_handler_in_another_module_is_found_where_a_start_would_refuse_it(tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text(
        "from app import PlaceOrder\nfrom diptych import Module\n\nmore = Module('more')\n\n\n"
        + HANDLE.replace("app.", "more.").replace("place(", "again(")
    )
    text = HEAD + PLACE + HANDLE + "from more import more\n\napp.include(more)\n"
    (one,) = found(tmp_path, text)
    assert (one.rule, one.place.path, one.name) == ("DP605", "more.py", "again")
    assert "PlaceOrder is already handled by" in one.message


def test_an_event_that_is_history_is_said_to_be(tmp_path: Path) -> None:
    noted = "class OrderNoted(DomainEvent{}):\n    note: str\n"
    assert rules_of(tmp_path, HEAD + noted.format("")) == ["DP603"]
    assert rules_of(tmp_path, HEAD + noted.format(", inert=True")) == []


RECORDS = """from diptych import Aggregate, App, DomainEvent

app = App("memory:")


class OrderNoted(DomainEvent{}):
    note: str


class Order(Aggregate):
    def note(self, note: str) -> None:
        self.record(OrderNoted(note=note))
"""


def test_what_is_only_history_needs_no_method_of_the_aggregate(tmp_path: Path) -> None:
    assert "DP306" in rules_of(tmp_path, RECORDS.format(""))
    assert rules_of(tmp_path, RECORDS.format(", inert=True")) == []
