"""Tries many changes, in as many processes as there are cores, and counts what is noticed."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from tests.campaigns.mutants.changing import Change, changes
from tests.campaigns.mutants.suite import ROOT, Suite, Verdict, copy, learn, tried

FOLDERS: Final = ("write", "read", "projections", "subscriptions", "store")
NOTICED: Final = ("killed", "timeout")
_ONE_TEST: Final = 5.0  # seconds that the tests of one change have beyond what they took without it


class Tried(NamedTuple):
    """A change, and what became of it."""

    change: Change
    verdict: Verdict


def all_changes(folders: Sequence[str] = FOLDERS) -> list[Change]:
    """Return every change to the code that runs on the memory store and SQLite."""
    found: list[Change] = []
    for folder in folders:
        for path in sorted((ROOT / "src" / "diptych" / folder).rglob("*.py")):
            if "postgres" not in path.parts:
                found += changes(str(path.relative_to(ROOT)), path.read_text())
    return found


def try_some(count: int, random: Random, jobs: int, say: Callable[[str], None]) -> list[Tried]:
    """Try so many changes of chance."""
    chosen = random.sample(all_changes(), count)
    with tempfile.TemporaryDirectory(prefix="diptych-lines-") as name:
        say("The suite runs once, to learn which test runs which line ...")
        suite = learn(Path(name))
    with ThreadPoolExecutor(jobs) as threads:
        found = list(threads.map(lambda part: list(_try(part, suite, say)), [chosen[at::jobs] for at in range(jobs)]))
    return [one for part in found for one in part]


def _try(chosen: Sequence[Change], suite: Suite, say: Callable[[str], None]) -> Iterator[Tried]:
    with copy() as at:
        for change in chosen:
            tests = suite.of(change)
            seconds = 3 * sum(suite.seconds.get(test, 1.0) for test in tests) + 60 + _ONE_TEST
            verdict = tried(change, tests, at, seconds)
            shutil.rmtree(at / "src" / "__pycache__", ignore_errors=True)
            if verdict not in NOTICED:
                say(f"{verdict:9} {change}")
            yield Tried(change, verdict)


def score(found: Sequence[Tried]) -> tuple[float, str]:
    """Return the share that was noticed, and a table by folder."""
    by_folder: dict[str, Counter[str]] = {}
    for one in found:
        by_folder.setdefault(one.change.path.split("/")[2], Counter())[one.verdict] += 1
    lines = [f"{'':15}{'killed':>9}{'timeout':>9}{'survived':>9}{'not run':>9}{'noticed':>9}"]
    for folder, counts in [*sorted(by_folder.items()), ("all", sum(by_folder.values(), Counter()))]:
        noticed = sum(counts[verdict] for verdict in NOTICED) / sum(counts.values())
        numbers = "".join(f"{counts[verdict]:9}" for verdict in ("killed", "timeout", "survived", "not run"))
        lines.append(f"{folder:15}{numbers}{noticed:9.1%}")
    noticed = sum(one.verdict in NOTICED for one in found) / len(found)
    return noticed, "\n".join(lines)
