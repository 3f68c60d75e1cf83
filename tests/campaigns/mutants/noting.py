"""Learns which test runs which line, in this process and in those that a test starts.

Rule: only the learning run imports this; it changes nothing that a test sees but a variable of the environment.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from coverage import Coverage, CoverageData

_TEST: Final = "NOTED_TEST"  # not DIPTYCH_...: tests of the command line take such away
_SETTINGS: Final = """\
[run]
source = {source}
data_file = {data}
parallel = true
concurrency = thread
context = ${{{test}-}}
"""


class Noting:
    """Notes lines under the test that runs them, and the seconds of each test that passes."""

    def __init__(self, source: Path, folder: Path, number: int) -> None:
        settings = folder / f"coverage{number}.ini"
        self._file = folder / f"seconds{number}.json"
        settings.write_text(_SETTINGS.format(source=source, data=folder / "lines", test=_TEST))
        os.environ["COVERAGE_PROCESS_START"] = str(settings)
        self._coverage = Coverage(config_file=str(settings))
        self.seconds: dict[str, float] = {}

    def run(self, items: Sequence[pytest.Item]) -> None:
        """Run tests one after the other."""
        self._coverage.start()
        for item, following in zip(items, [*items[1:], None], strict=True):
            os.environ[_TEST] = item.nodeid
            self._coverage.switch_context(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        self._coverage.stop()
        self._coverage.save()
        self._file.write_text(json.dumps(self.seconds))

    @staticmethod
    def all_seconds(folder: Path) -> dict[str, float]:
        """Return the seconds of every test that was run."""
        return {test: took for file in folder.glob("seconds*") for test, took in json.loads(file.read_text()).items()}

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what the parts of a test took; what fails or is skipped by itself notices nothing."""
        if report.outcome == "passed":
            self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        else:
            self.seconds[report.nodeid] = float("inf")


def noted(folder: Path, root: Path) -> dict[str, dict[int, list[str]]]:
    """Return the tests by file (below `root`) and line, of every process that noted lines in a folder."""
    found: dict[str, dict[int, list[str]]] = {}
    for data in sorted(folder.glob("lines.*")):
        read = CoverageData(basename=str(data))
        read.read()
        for path in read.measured_files():
            by_line = found.setdefault(str(Path(path).relative_to(root)), {})
            for line, tests in read.contexts_by_lineno(path).items():
                by_line.setdefault(line, []).extend(test for test in tests if test)
    return found
