"""The examples of docs/command-line.md say what the command line says."""

import re
from pathlib import Path

import pytest

from tests.cli.test_stream import Ledger, made

PAGE = Path(__file__).parent.parent.parent / "docs" / "command-line.md"
EXAMPLE = re.compile(r"^```\n\$ diptych (?P<arguments>.+)\n(?P<shown>(?s:.*?))^```$", re.M)
CHANGING = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return made(tmp_path_factory.mktemp("ledger"), "sqlite:///ledger.db")


def lines(text: str) -> list[str]:
    return [CHANGING.sub("...", line).rstrip() for line in text.splitlines()]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("example", list(EXAMPLE.finditer(PAGE.read_text())), ids=lambda found: found["arguments"][:30])
def test_an_example_says_what_is_shown(ledger: Ledger, example: re.Match[str]) -> None:
    told = ledger.tells(*example["arguments"].split())
    assert told.returncode == 0, told.stderr
    said = lines(told.stdout + told.stderr)
    assert [line for line in lines(example["shown"]) if line not in said] == []


def test_the_page_has_examples_to_try() -> None:
    assert len(EXAMPLE.findall(PAGE.read_text())) >= 6
