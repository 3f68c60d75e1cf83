"""Rules of others, and the rules within other tools: flake8 and pytest."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from diptych.errors import ConfigurationError
from diptych.lint.findings import Finding, Severity
from diptych.lint.module import Module
from diptych.lint.plugins import GROUP, all_rules
from diptych.lint.project import Project
from diptych.lint.rule import Rule
from diptych.lint.rules.table import BY_ID, META
from diptych.lint.running import parse, run

WRONG = (
    "from diptych import Aggregate\n\n\nclass Order(Aggregate):\n    def ship(self):\n        self.is_shipped = True\n"
)


def _prints(module: Module, project: Project) -> Iterator[Finding]:
    for name, node in module.defined.items():
        if name.startswith("print_"):
            yield Finding("SHOP101", module.place(node), f"`{name}` prints", "Log it.", name)


OURS = Rule("SHOP101", "a function prints", Severity.WARNING, "Nobody reads it.", _prints)
UNNAMED = OURS._replace(id="shop1")
TAKEN = OURS._replace(id="DP101")
NOTHING = 7


def entry(name: str) -> EntryPoint:
    return EntryPoint("shop", f"tests.lint.test_plugins:{name}", GROUP)


def test_a_rule_of_somebody_else_is_held_like_ours() -> None:
    rules = all_rules([entry("OURS")])
    assert set(rules) == {*BY_ID, "SHOP101"}
    project, _ = parse({"a.py": "def print_it(): pass\n"})
    assert [(one.rule, one.name) for one in run(project, rules.values())] == [("SHOP101", "print_it")]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("UNNAMED", "Give it a prefix of its own, not DP, and three digits"),
        ("TAKEN", "Give it a prefix of its own, not DP"),
        ("NOTHING", "is no rule, but 7"),
        ("MISSING", "cannot be loaded"),
    ],
)
def test_what_is_no_rule_is_refused_in_a_sentence(name: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        all_rules([entry(name)])


def test_flake8_finds_what_check_finds(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(WRONG)
    words = [sys.executable, "-m", "flake8", "--isolated", "--select", "DP", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.startswith(f"{file}:6:9: DP304 `Order.ship` sets `self.is_shipped` outside @on")
    file.write_text(WRONG.replace("True", "True  # noqa: DP304 a cache"))
    assert subprocess.run(words, capture_output=True, check=False, cwd=tmp_path).stdout == b""


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--diptych-check"], 1)])
def test_pytest_holds_the_rules_when_asked(tmp_path: Path, words: list[str], code: int) -> None:
    (tmp_path / "shop.py").write_text(WRONG)
    (tmp_path / "test_shop.py").write_text("def test_nothing():\n    pass\n")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == code
    assert ("shop.py:6:9: error DP304" in done.stdout) is bool(words)


def test_the_page_on_checking_lists_every_rule() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "checking.md").read_text()
    listed = [line.split(" | ")[0].removeprefix("| ") for line in page.partition("<!-- rules -->")[2].splitlines()[3:]]
    assert listed == [*BY_ID, *META]
