"""DP402, DP404, DP405: what `events.lock` says was stored, held against today's classes."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from diptych.errors import ConfigurationError
from diptych.lint.facts import Facts, StoredClass, Where
from diptych.lint.lock import find_lock, grow, read_lock, stored_classes, write_lock
from diptych.lint.registry import ask
from diptych.lint.rules import history, schema
from diptych.lint.running import parse, run
from diptych.lint.schemas import is_readable

RULES = (*history.RULES, *schema.RULES)

HEAD = """from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from diptych import App, DomainEvent

app = App("memory:")


"""
PLACED = "class OrderPlaced(DomainEvent{}):\n{}\n"
UP = '\n\n@app.upcast("OrderPlaced", from_version=1)\ndef up(old: dict) -> dict:\n    return {"b": str(old["a"])}\n'
TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


def facts_of(folder: Path, code: str) -> Facts:
    (folder / "app.py").write_text(HEAD + code)
    found = ask([sys.executable, "-B", "-m", "diptych.cli.inspecting", "app.py"], folder)
    assert isinstance(found, Facts), found
    return found


def found(folder: Path, before: str, after: str) -> list[str]:
    """Lock what one code stores, and hold another one against it."""
    (folder / "events.lock").write_text(write_lock(grow({}, facts_of(folder, before).events).lock))
    facts = facts_of(folder, after)
    project, _ = parse({"app.py": HEAD + after})
    return [f"{one.rule} {one.name}" for one in run(project, RULES, facts)]


def lock(app: Path) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-B", "-m", "diptych.cli", "event", "lock", "--app", str(app)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def placed(*fields: str, args: str = "") -> str:
    return PLACED.format(args, "\n".join(f"    {field}" for field in fields) or "    ...")


SAME = (
    (["a: int"], ["a: int"]),
    (["a: int"], ["a: int", "b: int = 0"]),
    (["a: int"], ["a: int | None"]),
    (["a: int"], ["a: float"]),
    (["a: int"], ["a: Decimal"]),
    (["a: Decimal"], ["a: Annotated[Decimal, Field(description='euros')]"]),
    (["a: Literal['x']"], ["a: Literal['x', 'y']"]),
    (["a: Literal['x', 'y']"], ["a: str"]),
    (["a: Annotated[str, Field(max_length=3)]"], ["a: Annotated[str, Field(max_length=5)]"]),
    (["a: datetime"], ["a: str"]),
    (["a: list[int]"], ["a: tuple[int, ...]"]),
    (["a: int = Field(alias='b')"], ["a: int = Field(alias='c')"]),
    (["a: dict[str, int]"], ["a: dict[str, float]"]),
)
BROKEN = (
    (["a: int"], ["a: int", "b: int"], "DP404"),
    (["a: int", "b: int"], ["a: int"], "DP405"),
    (["a: float"], ["a: int"], "DP405"),
    (["a: int | None"], ["a: int"], "DP405"),
    (["a: str"], ["a: int"], "DP405"),
    (["a: Literal['x', 'y']"], ["a: Literal['x']"], "DP405"),
    (["a: str"], ["a: Annotated[str, Field(max_length=5)]"], "DP405"),
    (["a: list[str]"], ["a: list[int]"], "DP405"),
)


def many(pairs: Sequence[Sequence[Any]], which: int) -> str:
    """All events of a list in one app: to import one takes longer than to judge it."""
    return "\n\n".join(placed(*pair[which]).replace("OrderPlaced", f"Case{at}") for at, pair in enumerate(pairs))


def test_what_takes_as_much_as_before_is_no_change(tmp_path: Path) -> None:
    assert found(tmp_path, many(SAME, 0), many(SAME, 1)) == []


def test_what_would_leave_old_events_unread_is_found(tmp_path: Path) -> None:
    wanted = [f"{rule} Case{at}" for at, (_, _, rule) in enumerate(BROKEN)]
    assert found(tmp_path, many(BROKEN, 0), many(BROKEN, 1)) == wanted


def test_a_new_version_may_be_anything(tmp_path: Path) -> None:
    assert found(tmp_path, placed("a: int"), placed("b: str", args=", version=2") + UP) == []


def test_a_locked_version_needs_a_way_up(tmp_path: Path) -> None:
    step = '\n\n@app.upcast("OrderPlaced", from_version=2)\ndef up(old: dict) -> dict:\n    return old\n'
    after = placed("a: int", args=", version=3") + step
    assert found(tmp_path, placed("a: int", args=", version=2"), after) == []
    assert found(tmp_path, placed("a: int"), after) == ["DP406 OrderPlaced"]


def test_a_version_that_went_back_is_found(tmp_path: Path) -> None:
    assert found(tmp_path, placed("a: int", args=", version=2"), placed("a: int")) == ["DP402 OrderPlaced"]


def test_an_event_that_is_gone_is_told_of_at_the_app(tmp_path: Path) -> None:
    assert found(tmp_path, placed("a: int"), "") == ["DP402 <module>"]


def test_a_class_that_it_may_have_become_is_pointed_at(tmp_path: Path) -> None:
    after = placed("a: int").replace("OrderPlaced", "OrderReceived")
    assert found(tmp_path, placed("a: int"), after) == ["DP402 OrderReceived"]


def test_without_a_lock_nothing_is_known(tmp_path: Path) -> None:
    project, _ = parse({"app.py": HEAD + placed("a: int")})
    assert run(project, RULES, facts_of(tmp_path, placed("a: int"))) == []


def test_what_others_inherit_from_is_not_stored(tmp_path: Path) -> None:
    code = placed("a: int") + "\n\nclass Other(OrderPlaced): ...\n"
    (tmp_path / "app.py").write_text(HEAD + code)
    assert lock(tmp_path / "app.py").returncode == 0
    assert list(read_lock((tmp_path / "events.lock").read_text())) == ["Other"]


@pytest.mark.parametrize(
    ("read", "stored"),
    [
        (NUMBER, WHOLE),
        ({"anyOf": [WHOLE, TEXT]}, TEXT),
        ({}, TEXT),
        ({"type": "object", "properties": {"a": NUMBER}}, {"type": "object", "properties": {"a": WHOLE}}),
        ({"$ref": "Tree"}, TEXT),
    ],
)
def test_one_schema_takes_another(read: Any, stored: Any) -> None:
    assert is_readable(read, stored)


@pytest.mark.parametrize(
    ("read", "stored"),
    [
        (WHOLE, NUMBER),
        (TEXT, {"anyOf": [WHOLE, TEXT]}),
        ({"type": "integer", "minimum": 1}, WHOLE),
        ({"type": "object", "properties": {"a": WHOLE}}, {"type": "object", "properties": {"a": TEXT}}),
        ({"type": "object", "properties": {}, "required": ["a"]}, {"type": "object", "properties": {}}),
    ],
)
def test_one_schema_does_not_take_another(read: Any, stored: Any) -> None:
    assert not is_readable(read, stored)


def stored(version: int = 1, **fields: Any) -> StoredClass:
    shapes = {name: json.dumps(shape) for name, shape in fields.items()}
    where = Where("orders.py", 1, "OrderPlaced")
    return StoredClass("OrderPlaced", version, where, shapes, frozenset(fields), shapes, is_base=False, is_inert=False)


def test_a_lock_says_what_was_added_and_reads_back() -> None:
    first = grow({}, [stored(a=TEXT)])
    assert (first.added, first.refused) == (["OrderPlaced v1"], [])
    second = grow(first.lock, [stored(2, b=TEXT)])
    assert second.added == ["OrderPlaced v2"]
    assert read_lock(write_lock(second.lock)) == second.lock
    assert set(second.lock["OrderPlaced"]) == {1, 2}
    bare = grow(second.lock, [])
    assert (bare.lock, bare.gone) == (second.lock, ["OrderPlaced"])


def test_a_lock_refuses_what_would_change_the_past() -> None:
    grown = grow(grow({}, [stored(a=TEXT)]).lock, [stored(a=WHOLE, b=TEXT)])
    assert grown.added == []
    assert grown.refused == [
        "OrderPlaced v1: a is read in another way than it was stored",
        "OrderPlaced v1: b is new and has no default",
    ]
    assert grown.lock["OrderPlaced"][1].fields == {"a": TEXT}


def test_what_is_no_lock_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"events\.lock cannot be read"):
        read_lock("<<<<<<< HEAD")


def test_a_lock_is_looked_for_up_to_the_project(tmp_path: Path) -> None:
    app = tmp_path / "src" / "shop" / "app.py"
    app.parent.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    assert find_lock(app) == app.parent / "events.lock"
    (tmp_path / "events.lock").touch()
    assert find_lock(app) == tmp_path / "events.lock"


def test_the_lock_of_the_order_service_is_up_to_date() -> None:
    facts = ask([sys.executable, "-B", "-m", "diptych.cli.inspecting", "examples/orders/main.py"], Path.cwd())
    assert isinstance(facts, Facts), facts
    assert facts.lock
    grown = grow(read_lock(facts.lock), stored_classes(facts))
    assert (grown.added, grown.refused, grown.gone) == ([], [], [])


def test_the_command_says_what_it_added_and_refuses_what_would_be_lost(tmp_path: Path) -> None:
    app, at = tmp_path / "app.py", tmp_path / "events.lock"
    app.write_text(HEAD + placed("a: int"))
    first = lock(app)
    assert (first.returncode, first.stdout) == (0, "OrderPlaced v1\n")
    written = at.read_bytes()
    assert (lock(app).returncode, at.read_bytes()) == (0, written)
    app.write_text(HEAD + placed("b: int"))
    refused = lock(app)
    assert (refused.returncode, refused.stdout, at.read_bytes()) == (1, "", written)
    assert "OrderPlaced v1: a is gone. Old events cannot be read so" in refused.stderr


def test_the_command_writes_no_new_name_of_a_class_that_was_renamed(tmp_path: Path) -> None:
    """The new name would be in the lock for ever, and the old one is still to be read."""
    app, at = tmp_path / "app.py", tmp_path / "events.lock"
    app.write_text(HEAD + placed("a: int"))
    lock(app)
    written = at.read_bytes()
    app.write_text(HEAD + placed("a: int").replace("OrderPlaced", "OrderTaken"))
    renamed = lock(app)
    assert (renamed.returncode, renamed.stdout, at.read_bytes()) == (1, "", written)
    assert 'Write name="OrderPlaced" on the class that it became;' in renamed.stderr
    app.write_text(
        HEAD + placed("a: int", args=', name="OrderPlaced"').replace("class OrderPlaced", "class OrderTaken")
    )
    assert lock(app).returncode == 0
