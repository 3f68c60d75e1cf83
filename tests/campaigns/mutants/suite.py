"""Which tests run which lines, learned once, and whether one of them notices a change.

Rule: a change is tried on a copy of the package; the checkout is never touched.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from tests.campaigns.mutants.changing import Change

ROOT: Final = Path(__file__).parent.parent.parent.parent
_PLACES: Final = (
    "app",
    "campaigns/test_model_app.py",
    "campaigns/test_model_event_store.py",
    "cli",
    "contracts",
    "events",
    "projections",
    "reactions",
    "read",
    "sagas",
    "store",
    "stories",
    "subscriptions",
    "testing",
    "write",
)
_WORDS: Final = ("-q", "-p", "no:cacheprovider", "--no-header", "-k", "not postgres", "-m", "not postgres")

Verdict = Literal["killed", "survived", "timeout", "not run"]


class Suite(NamedTuple):
    """The tests by the line of the package that they run, and the seconds that each takes that passes."""

    by_line: Mapping[tuple[str, int], frozenset[str]]
    seconds: Mapping[str, float]

    def of(self, change: Change) -> Sequence[str]:
        """Return the tests that run a changed line, quick ones first."""
        lines = range(change.line, change.end_line + 1)
        found = frozenset[str]().union(*(self.by_line.get((change.path, line), frozenset()) for line in lines))
        return sorted(found & self.seconds.keys(), key=lambda test: (self.seconds[test], test))


def learn(folder: Path) -> Suite:
    """Run the suite once on the memory store and SQLite, and note which test ran which line."""
    data, report = folder / "lines.sqlite", folder / "report.xml"
    settings = folder / "coverage.ini"
    settings.write_text(f"[run]\nsource = {ROOT}/src/diptych\ndata_file = {data}\nconcurrency = thread\n")
    places = [str(ROOT / "tests" / place) for place in _PLACES]
    words = [
        "-m",
        "coverage",
        "run",
        f"--rcfile={settings}",
        "-m",
        "pytest",
        *_WORDS,
        "-p",
        "tests.campaigns.mutants.noting",
    ]
    subprocess.run(
        [sys.executable, *words, f"--junitxml={report}", *places], cwd=ROOT, env=_environment(ROOT), check=False
    )
    suite = _read(data, report)
    if not suite.seconds:
        raise SystemExit("No test passed without any change. Mend that first.")
    return suite


def _read(data: Path, report: Path) -> Suite:
    from xml.etree import ElementTree

    from coverage import CoverageData

    noted = CoverageData(basename=str(data))
    noted.read()
    by_line: dict[tuple[str, int], frozenset[str]] = {}
    for path in noted.measured_files():
        name = str(Path(path).relative_to(ROOT))
        for line, contexts in noted.contexts_by_lineno(path).items():
            by_line[name, line] = frozenset(context for context in contexts if context)
    seconds: dict[str, float] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        if any(child.tag in ("failure", "error", "skipped") for child in case):
            continue  # what fails by itself notices nothing
        for property_ in case.iter("property"):
            if property_.get("name") == "node":
                seconds[str(property_.get("value"))] = float(case.get("time", "0"))
    return Suite(by_line, seconds)


@contextmanager
def copy() -> Iterator[Path]:
    """A copy of the package to change; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="diptych-mutant-") as name:
        shutil.copytree(ROOT / "src", Path(name) / "src", ignore=shutil.ignore_patterns("__pycache__"))
        yield Path(name)


def tried(change: Change, tests: Sequence[str], at: Path, seconds: float) -> Verdict:
    """Say whether one of the tests notices a change to the copy at a place. The copy is as before afterwards."""
    if not tests:
        return "not run"
    file = at / change.path
    text = file.read_text()
    file.write_text(change.applied(text))
    try:
        return _judged(tests, at, seconds)
    finally:
        file.write_text(text)


def _judged(tests: Sequence[str], at: Path, seconds: float) -> Verdict:
    listed = at / "tests.txt"
    listed.write_text("\n".join(tests))
    words = ["-m", "pytest", "-x", *_WORDS[:4], "-p", "tests.campaigns.mutants.noting", "--timeout", "40"]
    process = subprocess.Popen(
        [sys.executable, "-B", *words, f"@{listed}"], cwd=ROOT, env=_environment(at), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return "survived" if process.wait(seconds) == 0 else "killed"
    except subprocess.TimeoutExpired:
        return "timeout"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(at: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{at / 'src'}{os.pathsep}{ROOT}", "HYPOTHESIS_STORAGE_DIRECTORY": str(at)}
