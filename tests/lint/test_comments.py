"""Comments that switch a rule off: real ones, with a reason, and needed."""

from diptych.lint.comments import applied
from diptych.lint.findings import Finding
from diptych.lint.fixing import fixed
from diptych.lint.rules.table import ON
from diptych.lint.running import parse, run

SHOP = """\
from diptych import Aggregate, on


class Order(Aggregate):
    def ship(self) -> None:{on_def}
        self.is_shipped = True{on_line}
"""


def found(on_line: str = "", on_def: str = "") -> tuple[str, list[Finding]]:
    text = SHOP.format(on_line=on_line, on_def=on_def)
    project, _ = parse({"shop.py": text})
    return text, list(applied(project.modules[0], run(project, ON)))


def rules(on_line: str = "", on_def: str = "") -> list[str]:
    return [each.rule for each in found(on_line, on_def)[1]]


def test_a_comment_with_a_reason_hides_the_finding_of_its_line() -> None:
    assert rules() == ["DP304"]
    assert rules("  # diptych: ignore[DP304] a cache, made again by each load") == []
    assert rules("  # noqa: DP304 - a cache, made again by each load") == []


def test_a_comment_at_the_def_hides_what_is_in_it() -> None:
    assert rules(on_def="  # diptych: ignore[DP304, DP303] only a cache") == ["DP902"]
    assert rules(on_def="  # diptych: ignore[DP304] only a cache") == []


def test_a_reason_is_required() -> None:
    assert rules("  # diptych: ignore[DP304]") == ["DP901"]
    assert rules("  # noqa: DP304") == ["DP901"]


def test_a_comment_of_another_linter_is_none_of_ours() -> None:
    assert rules("  # noqa: E501") == ["DP304"]
    assert rules("  # noqa: E501, DP304 only a cache") == []


def test_text_that_looks_like_a_comment_is_none() -> None:
    text = 'from diptych import Aggregate\n\nx = """\n# diptych: ignore[DP304] no\n"""\n'
    project, _ = parse({"shop.py": text})
    assert list(applied(project.modules[0], [])) == []


def test_a_comment_that_hides_nothing_is_told_of_and_taken_away() -> None:
    text, findings = found("  # diptych: ignore[DP304] only a cache", "  # diptych: ignore[DP303] never so")
    (unused,) = findings
    assert (unused.rule, unused.place.line) == ("DP902", 5)
    after, done = fixed(text, findings)
    assert done == [unused]
    assert "    def ship(self) -> None:\n" in after
