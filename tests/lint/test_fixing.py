"""Fixes: all edits of one or none, never two that touch, never a file that is no Python afterwards."""

import pytest

from diptych.lint.findings import Edit, Finding, Fix, Place
from diptych.lint.fixing import fixed, with_imports

TEXT = "import os\n\nx = datetime.now()\ny = 1\n"


def finding(*edits: Edit, is_safe: bool = True, imports: tuple[tuple[str, str], ...] = ()) -> Finding:
    fix = Fix("do it", edits, is_safe, imports)
    return Finding("DP000", Place("a.py", 1, 1, 1, 2), "m", "h", fix=fix)


def edit(line: int, column: int, end: int, text: str) -> Edit:
    return Edit(Place("a.py", line, column, line, end), text)


def test_a_fix_brings_the_imports_that_it_needs() -> None:
    one = finding(edit(3, 5, 19, "datetime.now(UTC)"), imports=(("datetime", "UTC"),))
    after, done = fixed(TEXT, [one])
    assert done == [one]
    assert after == "import os\nfrom datetime import UTC\n\nx = datetime.now(UTC)\ny = 1\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "from a import b\n"),
        ('"""Doc."""\n', '"""Doc."""\nfrom a import b\n'),
        ("from a import b\n", "from a import b\n"),
        ("from a import b as c\n", "from a import b as c\nfrom a import b\n"),
    ],
)
def test_an_import_stands_below_the_others(before: str, after: str) -> None:
    assert with_imports(before, [("a", "b")]) == after


def test_of_two_that_touch_the_first_is_done() -> None:
    one, other = finding(edit(4, 1, 6, "y = 2")), finding(edit(4, 5, 6, "3"))
    after, done = fixed(TEXT, [one, other])
    assert done == [one]
    assert after.endswith("y = 2\n")


def test_an_unsafe_one_waits_to_be_asked_for() -> None:
    one = finding(edit(4, 5, 6, "2"), is_safe=False)
    assert fixed(TEXT, [one]) == (TEXT, [])
    assert fixed(TEXT, [one], is_unsafe=True)[1] == [one]


def test_a_file_is_left_alone_that_would_be_no_python() -> None:
    assert fixed(TEXT, [finding(edit(4, 5, 6, "(1"))]) == (TEXT, [])
