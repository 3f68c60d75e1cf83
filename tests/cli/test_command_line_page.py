"""The examples of docs/command-line.md say what the command line says, and every command of the docs can be typed."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diptych.cli.main import cli
from tests.cli.test_stream import Ledger, made

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "command-line.md"
EXAMPLE = re.compile(
    r"^```\n\$ diptych (?P<arguments>.+)\n(?P<shown>(?s:.*?))(?:^\$ echo \$\?\n(?P<code>\d)\n)?^```$", re.M
)
CHANGING = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|[\d,.]+ (?:ms|s|MB|events a second)\b"
)
SHOWN = re.compile(r"(?:^\s*\$ |`)diptych (?P<arguments>(?:projection|db|status|event|stream|trace)\b[^`\n]*)", re.M)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return made(tmp_path_factory.mktemp("ledger"), "sqlite:///ledger.db")


def lines(text: str) -> list[str]:
    return [CHANGING.sub("...", line).rstrip() for line in text.splitlines()]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("example", list(EXAMPLE.finditer(PAGE.read_text())), ids=lambda found: found["arguments"][:30])
def test_an_example_says_what_is_shown(ledger: Ledger, example: re.Match[str]) -> None:
    told = ledger.tells(*shlex.split(example["arguments"]))
    assert told.returncode == int(example["code"] or 0), told.stderr
    said = lines(told.stdout + told.stderr)
    assert [line for line in lines(example["shown"]) if line not in said] == []


def test_the_page_has_examples_to_try() -> None:
    assert len(EXAMPLE.findall(PAGE.read_text())) >= 6


def written() -> list[tuple[str, str]]:
    """Every command that a page shows, without what stands for several words."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [
        (page.name, found["arguments"])
        for page in pages
        for found in SHOWN.finditer(page.read_text())
        if not re.search(r"[|\[]|, ", found["arguments"])
    ]


@pytest.mark.parametrize(("page", "command"), sorted(set(written())))
def test_a_command_of_the_docs_has_the_verb_and_the_options_that_it_is_written_with(page: str, command: str) -> None:
    asked = CliRunner().invoke(cli, [*shlex.split(command), "--help"])
    assert asked.exit_code == 0, f"{page}: diptych {command}\n{asked.output}"
