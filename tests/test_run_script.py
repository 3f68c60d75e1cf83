"""`./run`: what it says when Python does not do, and that what it installs is pinned and complete."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)", re.M)


def fake_python(folder: Path, version: str, *, has_venv: bool = True) -> Path:
    """A stand-in for a Python of some version that answers the questions `run` asks it."""
    is_old = "exit 1" if tuple(map(int, version.split("."))) < (3, 11) else "exit 0"
    missing = "exit 0" if has_venv else "exit 1"
    answers = f"*print*) echo {version} ;; *version_info*) {is_old} ;; *ensurepip*) {missing} ;; *) exit 9 ;;"
    python = folder / f"python-{version}"
    python.write_text(f'#!/bin/sh\ncase "$2" in {answers} esac\n')
    python.chmod(0o755)
    return python


def run_with(python: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    script = shutil.copy(ROOT / "run", folder / "run")
    return subprocess.run(
        [script, "demo"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_old_python_is_refused_with_its_version(tmp_path: Path) -> None:
    ran = run_with(fake_python(tmp_path, "3.8"), tmp_path)
    assert ran.returncode == 2
    assert "needs Python 3.11 or newer" in ran.stderr
    assert "is 3.8" in ran.stderr


def test_a_python_without_venv_is_told_apart_from_an_old_one(tmp_path: Path) -> None:
    ran = run_with(fake_python(tmp_path, "3.12", has_venv=False), tmp_path)
    assert ran.returncode == 2
    assert "python3-venv" in ran.stderr


def test_no_python_at_all_is_said(tmp_path: Path) -> None:
    ran = run_with(tmp_path / "nowhere", tmp_path)
    assert ran.returncode == 2
    assert "Found: none" in ran.stderr


def test_an_unknown_job_lists_the_known_ones(tmp_path: Path) -> None:
    ran = subprocess.run([ROOT / "run", "fly"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "./run demo" in ran.stderr


def test_asking_for_help_is_no_mistake() -> None:
    ran = subprocess.run([ROOT / "run", "--help"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert "./run demo" in ran.stderr


def test_a_python_under_a_path_with_spaces_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "my pythons"
    folder.mkdir()
    assert "is 3.8" in run_with(fake_python(folder, "3.8"), tmp_path).stderr


def test_what_is_in_the_place_of_the_environment_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to("nowhere")
    ran = run_with(fake_python(tmp_path, "3.12"), tmp_path)
    assert ran.returncode == 9  # what the stand-in answers when it is told to make one
    assert not (tmp_path / ".venv").is_symlink()


def test_through_a_link_it_works_in_its_own_folder(tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "run"
    link.parent.mkdir()
    link.symlink_to(shutil.copy(ROOT / "run", tmp_path / "run"))
    env = {"PATH": "/usr/bin:/bin", "PYTHON": str(fake_python(tmp_path, "3.12"))}
    (tmp_path / ".venv").write_text("")
    subprocess.run([link, "demo"], env=env, capture_output=True, check=False)
    assert not (tmp_path / ".venv").exists()


def wanted(name: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    lines = [*project["project"]["dependencies"], *extras["fastapi"], *extras["cli"], *groups["build"]]
    if name == "bench":
        lines += groups["bench"]
    if name == "test":
        lines += [*extras["testing"], *groups["test"]]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", ["run", "bench", "test"])
def test_every_dependency_is_pinned_in_the_range_that_was_asked_for(name: str) -> None:
    pins = {pin["name"]: pin["version"] for pin in PIN.finditer((ROOT / "requirements" / f"{name}.txt").read_text())}
    unmet = [str(need) for need in wanted(name) if not need.specifier.contains(pins.get(need.name, "0"))]
    assert unmet == []


@pytest.mark.parametrize("name", ["run", "bench", "test"])
def test_the_pins_name_no_place_to_install_from(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    assert "--index" not in text
    assert text.count("==") <= text.count("--hash=sha256:")


def test_both_sets_pin_the_same_versions() -> None:
    run, test = (dict(PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text())) for name in ("run", "test"))
    assert {name: version for name, version in run.items() if test.get(name) != version} == {}


def test_what_the_examples_import_is_pinned_for_the_demo() -> None:
    """The first command of the README installs `requirements/run.txt`, and nothing else."""
    pinned = {found["name"] for found in PIN.finditer((ROOT / "requirements/run.txt").read_text())}
    owners = importlib.metadata.packages_distributions()
    missing = set[str]()
    for path in (ROOT / "examples").rglob("*.py"):
        if "tests" in path.relative_to(ROOT).parts:
            continue
        for name in imported(path) - sys.stdlib_module_names - {"diptych", "examples"}:
            if pinned.isdisjoint(re.sub(r"[-_.]+", "-", owner).lower() for owner in owners[name]):
                missing.add(f"{path.relative_to(ROOT)} imports {name}")
    assert missing == set()


def imported(path: Path) -> set[str]:
    """The top names of what a file imports, wherever in it."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.partition(".")[0])
    return found
