"""The cache is only ever faster: what is found is what would be found without it."""

from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from diptych.lint import checking
from diptych.lint.cache import closures
from diptych.lint.checking import check
from diptych.lint.findings import Finding
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.rule import Rule
from diptych.lint.rules.table import RULES
from diptych.lint.running import run_module
from diptych.lint.settings import Settings

MODEL = """\
from typing import Annotated
from uuid import UUID

from diptych import Key, ReadModel


class {name}(ReadModel):
    id: Annotated[UUID, Key]
"""
OWNER = "from diptych import Projection\nfrom models import {model}\n\n\nclass Rows(Projection[{model}]):\n    pass\n"
WRITER = "from db import run\n\n\ndef fix():\n    run('UPDATE order_summary SET cents = 1')\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "models.py").write_text(MODEL.format(name="OrderSummary"))
    (tmp_path / "fixing.py").write_text(WRITER)
    (tmp_path / "db.py").write_text("def run(sql):\n    con.execute(sql)\n")
    (tmp_path / "broken.py").write_text("def (\n")
    return tmp_path


def found(project: Path, *, cached: bool = True) -> list[str]:
    cache = project / ".diptych_cache" / "check.json" if cached else None
    return [f"{one.rule} {one.place.path}" for one in check([project], RULES, Settings(project), cache=cache).findings]


def test_nothing_is_parsed_when_nothing_has_changed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = found(project)
    assert first == ["DP904 broken.py", "DP103 fixing.py"]
    monkeypatch.setattr(checking, "parse", None)
    assert found(project) == first
    assert (project / ".diptych_cache" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("name", ["models.py", "fixing.py", "db.py", "broken.py"])
def test_a_change_anywhere_gives_what_is_found_without_it(project: Path, name: str) -> None:
    found(project)
    file = project / name
    for text in (file.read_text() + "\nx = 1\n", "", MODEL.format(name="Other"), WRITER):
        file.write_text(text)
        assert found(project) == found(project, cached=False), text


def test_only_what_a_change_concerns_is_looked_at(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(project)
    (project / "db.py").write_text("def run(sql):\n    print(sql)\n    con.execute(sql)\n")
    looked: list[str] = []

    def run(project: Project, module: Module, rules: Iterable[Rule]) -> list[Finding]:
        looked.append(module.path)
        return run_module(project, module, rules)

    monkeypatch.setattr(checking, "run_module", run)
    found(project)
    assert looked == ["db.py", "fixing.py"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"form": 1, "known": {"a": 3}}', '{"form": 7}'])
def test_one_that_cannot_be_read_is_begun_anew(project: Path, text: str) -> None:
    first = found(project)
    (project / ".diptych_cache" / "check.json").write_text(text)
    assert found(project) == first


def test_an_owner_that_nobody_imports_is_seen(project: Path) -> None:
    """Which projection has a table, and where it stands, is in the finding of a file that imports neither."""
    (project / "rows.py").write_text(OWNER.format(model="Other"))
    found(project)
    for model, owner in (("OrderSummary", "owned by `Rows`"), ("Other", "which only a projection writes")):
        (project / "rows.py").write_text(OWNER.format(model=model))
        cache = project / ".diptych_cache" / "check.json"
        said = [one.message for one in check([project], RULES, Settings(project), cache=cache).findings]
        assert f"`fix` writes `order_summary`, {owner}" in said


def test_other_rules_do_not_see_it(project: Path) -> None:
    found(project)
    cache = project / ".diptych_cache" / "check.json"
    settings = Settings(project, select=("DP3",))
    assert [one.rule for one in check([project], RULES, settings, cache=cache).findings] == ["DP904"]


def test_what_imports_go_in_a_circle_belong_together() -> None:
    imported = {"a.py": ["b"], "b.py": ["c.x"], "c.py": ["a"], "d.py": ["a", "os"]}
    names = {"a": "a.py", "b": "b.py", "c": "c.py", "d": "d.py"}
    assert closures(imported, names)["a.py"] == {"a.py", "b.py", "c.py"}
    assert closures(imported, names)["d.py"] == {"a.py", "b.py", "c.py", "d.py"}


@pytest.mark.parametrize("seed", range(20))
def test_everything_that_imports_lead_to_belongs_to_a_file(seed: int) -> None:
    random = Random(seed)
    imported = {f"m{at}.py": [f"m{random.randrange(30)}" for _ in range(random.randrange(3))] for at in range(30)}
    found = closures(imported, {f"m{at}": f"m{at}.py" for at in range(30)})
    for path, files in found.items():
        reached = {path}
        for _ in imported:
            reached |= {f"{name}.py" for each in reached for name in imported[each]}
        assert files == reached


def test_without_a_place_to_keep_it_no_key_is_made(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "closures", None)
    assert found(project, cached=False) == ["DP904 broken.py", "DP103 fixing.py"]
