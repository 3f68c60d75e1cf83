"""Tries many changes, in as many processes as there are cores, and counts what is noticed.

Rule: every verdict is written down at once, so that a campaign that is ended goes on where it was.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from tests.campaigns.mutants.changing import Change, changes
from tests.campaigns.mutants.suite import PLACES, ROOT, state

FOLDERS: Final = ("write", "read", "projections", "subscriptions", "store")
_OF_MOVES: Final = ("copying.py", "copying_rows.py", "moving.py", "moving_rows.py")  # from files to a server
NOTICED: Final = ("killed", "timeout")
VERDICTS: Final = ("killed", "timeout", "survived", "not run")


class Tried(NamedTuple):
    """A change, what became of it, and the test that noticed."""

    change: Change
    verdict: str
    test: str = ""


class Plan(NamedTuple):
    """What to try with which tests, in how many processes, for how many seconds of tests each, and where to write."""

    chosen: Sequence[Change]
    folder: Path
    jobs: int = 1
    longest: float = 60.0
    places: Sequence[str] = PLACES

    @property
    def learned(self) -> Path:
        """The file with what was learned about this state of the checkout and these tests."""
        return self.folder / f"suite-{state(self.places)}.json"

    @property
    def verdicts(self) -> Path:
        """The file with one verdict a line."""
        return self.folder / "verdicts.jsonl"


def all_changes(folders: Sequence[str] = FOLDERS) -> list[Change]:
    """Return every change to the code that runs on the memory store and SQLite."""
    found: list[Change] = []
    for folder in folders:
        for path in sorted((ROOT / "src" / "diptych" / folder).rglob("*.py")):
            if "postgres" not in path.parts and path.name not in _OF_MOVES:
                found += changes(str(path.relative_to(ROOT)), path.read_text())
    return found


def choose(count: int, random: Random) -> list[Change]:
    """Return so many changes of chance."""
    return random.sample(all_changes(), count)


def written(plan: Plan) -> list[Tried]:
    """Return the verdicts on what is planned; of two on one change the later counts."""
    if not plan.verdicts.exists():
        return []
    read = [json.loads(line) for line in plan.verdicts.read_text().splitlines()]
    found = {Change(*change): Tried(Change(*change), verdict, test) for change, verdict, test in read}
    return [found[change] for change in plan.chosen if change in found]


def write(plan: Plan, tried: Tried) -> None:
    """Add a verdict; one write, so that several processes can do so."""
    with plan.verdicts.open("a") as file:
        file.write(json.dumps(tried) + "\n")


def score(found: Sequence[Tried]) -> tuple[float, str]:
    """Return the share that was noticed, and a table by folder."""
    by_folder: dict[str, Counter[str]] = {}
    for one in found:
        by_folder.setdefault(one.change.path.split("/")[2], Counter())[one.verdict] += 1
    lines = [f"{'':15}{'killed':>9}{'timeout':>9}{'survived':>9}{'not run':>9}{'noticed':>9}"]
    for folder, counts in [*sorted(by_folder.items()), ("all", sum(by_folder.values(), Counter()))]:
        noticed = sum(counts[verdict] for verdict in NOTICED) / sum(counts.values())
        numbers = "".join(f"{counts[verdict]:9}" for verdict in VERDICTS)
        lines.append(f"{folder:15}{numbers}{noticed:9.1%}")
    noticed = sum(one.verdict in NOTICED for one in found) / len(found)
    return noticed, "\n".join(lines)
