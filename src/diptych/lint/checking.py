"""One run of `diptych check`: files in, findings out.

Rule: nothing is printed here.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from diptych.errors import ConfigurationError
from diptych.lint.comments import applied
from diptych.lint.facts import Facts
from diptych.lint.files import find_files
from diptych.lint.findings import Finding
from diptych.lint.rule import AnyRule
from diptych.lint.running import parse, run
from diptych.lint.settings import Settings


class Checked(NamedTuple):
    """What was looked at, and what was found, by file and line. `texts` are the files as they were read."""

    texts: dict[str, str]
    findings: list[Finding]


def chosen(rules: Iterable[AnyRule], settings: Settings) -> list[AnyRule]:
    """Return the rules that are on: those that are selected, else those that are by default, less those ignored."""
    wanted = [rule for rule in rules if (rule.id.startswith(settings.select) if settings.select else rule.is_default)]
    return [rule for rule in wanted if not (settings.ignore and rule.id.startswith(settings.ignore))]


def check(paths: Sequence[Path], rules: Iterable[AnyRule], settings: Settings, facts: Facts | None = None) -> Checked:
    """Hold the rules against files. :raises ConfigurationError: a path is not there."""
    texts: dict[str, str] = {}
    for name, path in find_files(paths, settings.root, settings.exclude).items():
        try:
            texts[name] = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{name} is no UTF-8: {error}. Mend it, or exclude the file.") from error
    project, faults = parse(texts)
    by_file: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in run(project, chosen(rules, settings), facts):
        by_file[finding.place.path].append(finding)
    found = list(faults)
    for module in project.modules:
        found += applied(module, by_file[module.path])
    return Checked(texts, sorted(found, key=lambda one: (one.place, one.rule)))
