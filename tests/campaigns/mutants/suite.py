"""The tests by the lines that they run: learned once for a state of the checkout, and kept in a file.

Rule: a change is tried on a copy of the package and in the memory of a forked process; the checkout is never touched.
"""

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

from tests.campaigns.mutants.changing import Change

ROOT: Final = Path(__file__).parent.parent.parent.parent
PLACES: Final = (
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
SLOW: Final = 10.0  # a test that takes longer judges a change if no other one runs its line


class Suite(NamedTuple):
    """The tests by file and line of the package, and the seconds that each took that passes."""

    by_line: Mapping[str, Mapping[int, frozenset[str]]]
    seconds: Mapping[str, float]

    def of(self, change: Change, longest: float = 60.0) -> Sequence[str]:
        """Return the tests that run a changed line, near ones and quick ones first, for so many seconds at most."""
        of_file = self.by_line.get(change.path, {})
        found: set[str] = set()
        for lines in (range(change.line, change.end_line + 1), _statement(change)):
            found = found or set[str]().union(*(of_file.get(line, frozenset()) for line in lines))
        folder, module = Path(change.path).parts[2:3], Path(change.path).stem

        def order(test: str) -> tuple[bool, bool, bool, float]:
            file, seconds = Path(test.partition("::")[0]), self.seconds[test]
            return seconds >= SLOW, module not in file.stem, file.parts[1:2] != folder, seconds

        chosen: list[str] = []
        for test in sorted((test for test in sorted(found) if self.seconds.get(test, inf) < inf), key=order):
            longest -= self.seconds[test]
            if longest < 0 and chosen:
                break
            chosen.append(test)
        return chosen


def _statement(change: Change) -> range:
    """Return the lines of the smallest statement around a change: of a longer one only some lines are noted."""
    file = ROOT / change.path
    if not file.exists():
        return range(0)
    around = range(0)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.stmt) and node.lineno <= change.line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            end = body[0].lineno if body else (node.end_lineno or 0) + 1
            around = range(node.lineno, max(end, node.lineno + 1)) if change.line < end else around
    return around


def state(places: Sequence[str], root: Path = ROOT) -> str:
    """Return a hash of the package and its tests, and of which are run: as long as it is the same, what was learned is.

    What is learned does not depend on this campaign's own code.
    """
    found = hashlib.sha256("\0".join(places).encode())
    for folder in ("src", "tests", "examples"):
        for path in sorted((root / folder).rglob("*.py")):
            if Path(__file__).parent in path.parents:
                continue
            found.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def keep(suite: Suite, file: Path) -> None:
    """Write what was learned to a file; each test's name stands there once."""
    numbers = {test: number for number, test in enumerate(suite.seconds)}
    by_line = {
        path: {line: sorted(numbers[test] for test in tests if test in numbers) for line, tests in lines.items()}
        for path, lines in suite.by_line.items()
    }
    file.write_text(json.dumps({"tests": suite.seconds, "lines": by_line}))


def kept(file: Path) -> Suite:
    """Read what was learned before."""
    read = json.loads(file.read_text())
    names = list(read["tests"])
    by_line = {
        path: {int(line): frozenset(names[number] for number in tests) for line, tests in lines.items()}
        for path, lines in read["lines"].items()
    }
    return Suite(by_line, read["tests"])
