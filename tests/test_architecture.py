"""The rules of the house that a machine can hold: sizes, names, what is exported, what an import costs."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CASES = ROOT / "src" / "diptych" / "lint" / "cases"  # what the rules are about, half of it wrong
SOURCES = sorted(path for path in (ROOT / "src" / "diptych").rglob("*.py") if CASES not in path.parents)
CODE = SOURCES + sorted((ROOT / "examples").rglob("*.py"))
BANNED_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "base", "misc", "manager", "impl"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def nodes(path: Path, *kinds: type[ast.AST]) -> Iterator[Any]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds))


def body_lines(function: Function) -> int:
    """The lines of a function without signature, decorators and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameters(function: Function) -> int:
    taken = function.args
    names = [argument.arg for argument in taken.posonlyargs + taken.args + taken.kwonlyargs]
    return len([name for name in names if name not in ("self", "cls")])


def test_the_package_stays_small() -> None:
    """At most 41,000 lines that say something; blank ones are the formatter's."""
    lines = sum(bool(line.strip()) for path in SOURCES for line in path.read_text().splitlines())
    assert lines <= 41_000


def test_no_file_is_longer_than_400_lines() -> None:
    long = {name_of(path): count for path in CODE if (count := len(path.read_text().splitlines())) > 400}
    assert long == {}


def test_no_class_is_longer_than_200_lines() -> None:
    long = {
        f"{name_of(path)} {cls.name}": length
        for path in CODE
        for cls in nodes(path, ast.ClassDef)
        if (length := cls.end_lineno - cls.lineno + 1) > 200
    }
    assert long == {}


def test_no_function_body_is_longer_than_40_lines() -> None:
    long = {
        f"{name_of(path)} {function.name}": length
        for path in CODE
        for function in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef)
        if (length := body_lines(function)) > 40
    }
    assert long == {}


def test_no_function_takes_more_than_6_parameters() -> None:
    """The command line's functions are exempt: there, a parameter is an option with its own help."""
    greedy = {
        f"{name_of(path)} {function.name}": count
        for path in CODE
        if "cli" not in path.parts
        for function in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef)
        if (count := parameters(function)) > 6
    }
    assert greedy == {}


def test_annotations_are_data_so_none_is_hidden_from_run_time() -> None:
    hidden = [
        name_of(path)
        for path in CODE
        for node in nodes(path, ast.Name, ast.ImportFrom)
        if (isinstance(node, ast.Name) and node.id == "TYPE_CHECKING")
        or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    ]
    assert hidden == []


def test_no_module_is_called_after_nothing() -> None:
    nothing = [name_of(path) for path in CODE if BANNED_NAMES & {part.lower().strip("_") for part in path.parts[-3:-1]}]
    nothing += [name_of(path) for path in CODE if path.stem.strip("_") in BANNED_NAMES]
    assert nothing == []


def test_nothing_is_left_to_do_in_the_code() -> None:
    note = re.compile(r"#\s*(TO[D]O|FIX[M]E|XX[X])")
    assert [name_of(path) for path in CODE if note.search(path.read_text())] == []


def test_the_root_of_the_repository_has_at_most_12_visible_entries() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = {path.split("/")[0] for path in listed.split("\0") if path and not path.startswith(".")}
    assert len(entries) <= 12, sorted(entries)


def public_modules() -> list[str]:
    dotted = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in SOURCES]
    return [name.removesuffix(".__init__") for name in dotted]


def as_ruff_sorts(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as ruff's RUF022 wants it."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", public_modules())
def test_what_a_module_exports_is_sorted_and_documented(name: str) -> None:
    module = importlib.import_module(name)
    exported = list(getattr(module, "__all__", ()))
    assert len(exported) <= 45
    assert exported == sorted(exported, key=as_ruff_sorts)
    undocumented = [
        entry
        for entry in exported
        if (inspect.isclass(value := getattr(module, entry)) or callable(value)) and not inspect.getdoc(value)
    ]
    assert undocumented == []


def test_the_front_door_has_the_names_of_the_design() -> None:
    diptych = importlib.import_module("diptych")
    wanted = {"Aggregate", "App", "Command", "DomainEvent", "Projection", "Query", "ReadModel", "Repository", "on"}
    assert wanted <= set(diptych.__all__)


def test_the_front_door_shows_type_checkers_the_names_that_it_opens() -> None:
    """`__init__.pyi` is what they read, the table in `__init__.py` is what runs."""
    diptych = importlib.import_module("diptych")
    tree = ast.parse((ROOT / "src" / "diptych" / "__init__.pyi").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    shown = {alias.name: node.module for node in imports for alias in node.names}
    (exported,) = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    assert exported == diptych.__all__
    assert shown == {name: vars(diptych)["_HOMES"][name] for name in diptych.__all__}
    assert {*diptych.__all__} <= {*dir(diptych)}
    with pytest.raises(ImportError, match="cannot import name 'Aggregat' from 'diptych'"):
        exec("from diptych import Aggregat")


def test_the_front_door_says_which_version_it_is_once_it_is_asked() -> None:
    script = "import sys, diptych; print('importlib.metadata' in sys.modules, diptych.__version__)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", metadata.version("diptych")]
    assert "__version__" in dir(importlib.import_module("diptych"))


def test_importing_diptych_alone_loads_none_of_it() -> None:
    """Whoever imports one module of it, as the command line and the pytest plugin do, pays for that one."""
    script = "import sys, diptych; print(*[name for name in sys.modules if name.startswith(('diptych.', 'pydantic'))])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_importing_diptych_loads_no_driver_no_web_framework_and_no_terminal() -> None:
    heavy = "apsw asyncpg fastapi starlette uvicorn typer rich pytest hypothesis prometheus_client opentelemetry"
    script = f"import sys; from diptych import *; print(*[m for m in {heavy!r}.split() if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_the_pytest_plugin_loads_no_driver_and_no_framework() -> None:
    """Every test run of everybody who has diptych installed pays for it."""
    heavy = "apsw fastapi starlette uvicorn typer rich hypothesis diptych.testing.scenario diptych.store.sqlite"
    script = f"import sys, diptych.testing.plugin; print(*[m for m in {heavy!r}.split() if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
