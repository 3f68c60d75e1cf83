"""A run of pytest that collects every test once, and then forks for the learning and for each change.

Rule: this process runs no test and changes no function; all of that happens in forked ones.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.campaigns.mutants.changing import Change
from tests.campaigns.mutants.forking import forked, settle_in
from tests.campaigns.mutants.living import change_functions
from tests.campaigns.mutants.suite import ROOT, Suite, keep, kept
from tests.campaigns.mutants.trying import NOTICED, Plan, Tried, write, written

_WORDS: Final = (
    "-q", "-s", "-p", "no:cacheprovider", "--no-header", "-k", "not postgres", "-m", "not postgres",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip
_AT_LEAST: Final = 60.0  # seconds that the tests of a change have, and
_TIMES: Final = 5  # so many times what they took without it: only then a timeout tells of the change
_ONE_TEST: Final = 10.0  # seconds that each of them has at least; half of that without the change


def try_planned(plan: Plan, say: Callable[[str], None]) -> None:
    """Try what is planned and has no verdict yet; those that nothing notices are told."""
    os.environ["PYTHONPATH"] = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    places = [str(ROOT / "tests" / place) for place in plan.places]
    ended = pytest.main([*_WORDS, f"--rootdir={ROOT}", *places], plugins=[_Trials(plan, say)])
    if ended not in (0, 1):
        raise SystemExit("The tests could not be collected. Mend that first.")


class _Trials:
    """Takes the place of pytest's loop over the tests."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        self._items: dict[str, pytest.Item] = {}
        self._failed: str | None = None

    @pytest.hookimpl
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Learn, unless that is done; then try the changes, each worker its share."""
        self._items = {item.nodeid: item for item in session.items}
        if not self._plan.learned.exists():
            self._say(f"{len(self._items)} tests run once, to learn which of them runs which line ...")
            keep(self._learned(), self._plan.learned)
        suite = kept(self._plan.learned)
        if not any(seconds < float("inf") for seconds in suite.seconds.values()):
            raise SystemExit("No test passed without any change. Mend that first.")
        done = {one.change for one in written(self._plan)}
        waiting = [change for change in self._plan.chosen if change not in done]
        self._in_parts(lambda number: self._try_all(suite, waiting[number :: self._plan.jobs]))
        return True

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a test that fails."""
        if report.failed and self._failed is None:
            self._failed = report.nodeid

    def _in_parts(self, work: Callable[[int], object]) -> None:
        workers = []
        for number in range(self._plan.jobs):
            workers.append(os.fork())
            if workers[-1] == 0:
                status = 1
                try:
                    work(number)
                    status = 0
                finally:
                    sys.stdout.flush()
                    os._exit(status)
        for worker in workers:
            os.waitpid(worker, 0)

    def _learned(self) -> Suite:
        from tests.campaigns.mutants.noting import Noting, noted

        with tempfile.TemporaryDirectory(prefix="diptych-lines-") as name:
            folder = Path(name)
            files = sorted({test.partition("::")[0] for test in self._items})

            def part(number: int) -> bool:
                noting = Noting(ROOT / "src" / "diptych", folder, number)
                next(iter(self._items.values())).config.pluginmanager.register(noting)
                mine = set(files[number :: self._plan.jobs])
                noting.run([item for test, item in self._items.items() if test.partition("::")[0] in mine])
                return True

            self._in_parts(lambda number: forked(lambda: part(number)))
            seconds = Noting.all_seconds(folder)
            lines = noted(folder, ROOT)
        return Suite({path: {line: frozenset(of) for line, of in by.items()} for path, by in lines.items()}, seconds)

    def _try_all(self, suite: Suite, changes: Sequence[Change]) -> None:
        for change in changes:
            tried = self._try(suite, change)
            write(self._plan, tried)
            if tried.verdict not in NOTICED:
                self._say(f"{tried.verdict:9} {change}")

    def _try(self, suite: Suite, change: Change) -> Tried:
        tests = list(suite.of(change, self._plan.longest))
        while tests:
            limit = _TIMES * sum(suite.seconds[test] for test in tests) + _AT_LEAST
            verdict, test = self._judged(suite, change, tests, limit)
            if verdict != "killed" or self._judged(suite, None, [test], _AT_LEAST)[0] == "survived":
                return Tried(change, verdict, test)
            tests.remove(test)  # it fails without the change, too
        return Tried(change, "not run")

    def _judged(self, suite: Suite, change: Change | None, tests: Sequence[str], seconds: float) -> tuple[str, str]:
        with tempfile.TemporaryDirectory(prefix="diptych-mutant-") as name:
            at = Path(name)
            passed = forked(lambda: self._passed(suite, change, tests, at), seconds)
            failed = at / "failed"
            test = failed.read_text() if failed.exists() else tests[0]
        return {True: "survived", False: "killed", None: "timeout"}[passed], test if not passed else ""

    def _passed(self, suite: Suite, change: Change | None, tests: Sequence[str], at: Path) -> bool:
        settle_in(at / "tmp")
        if change is not None:
            shutil.copytree(ROOT / "src", at / "src")
            file = at / change.path
            file.write_text(change.applied(file.read_text()))
            os.environ["PYTHONPATH"] = f"{at / 'src'}{os.pathsep}{ROOT}"
            change_functions(change, ROOT)
        items = [self._items[test] for test in tests]
        for item, following in zip(items, [*items[1:], None], strict=True):
            limit = max(_ONE_TEST, _TIMES * suite.seconds[item.nodeid]) / (1 if change else 2)
            item.add_marker(pytest.mark.timeout(limit), append=False)
            (at / "failed").write_text(item.nodeid)  # also when the test ends the process
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed is not None:
                (at / "failed").write_text(self._failed)
                return False
        return True
