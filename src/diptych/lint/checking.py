"""One run of `diptych check`: files in, findings out.

Rule: nothing is printed here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from diptych.errors import ConfigurationError
from diptych.lint.cache import Cache, closures
from diptych.lint.comments import applied
from diptych.lint.facts import Facts
from diptych.lint.files import find_files
from diptych.lint.findings import Finding
from diptych.lint.project import Project
from diptych.lint.rule import AnyRule, Rule
from diptych.lint.running import dotted_name, parse, run, run_module
from diptych.lint.settings import Settings


class Checked(NamedTuple):
    """What was looked at, and what was found, by file and line. `texts` are the files as they were read."""

    texts: dict[str, str]
    findings: list[Finding]


def chosen(rules: Iterable[AnyRule], settings: Settings) -> list[AnyRule]:
    """Return the rules that are on: those that are selected, else those that are by default, less those ignored."""
    wanted = [rule for rule in rules if (rule.id.startswith(settings.select) if settings.select else rule.is_default)]
    return [rule for rule in wanted if not (settings.ignore and rule.id.startswith(settings.ignore))]


def check(
    paths: Sequence[Path],
    rules: Iterable[AnyRule],
    settings: Settings,
    facts: Facts | None = None,
    *,
    cache: Path | None = None,
) -> Checked:
    """Hold the rules against files; what was found before is taken from a cache.

    :raises ConfigurationError: a path is not there, or a file is no UTF-8.
    """
    texts = {name: _read(name, path) for name, path in find_files(paths, settings.root, settings.exclude).items()}
    on = chosen(rules, settings)
    known = Cache(cache, on)
    key = known.key("all of it", *texts, *texts.values())
    found = known.findings(key) if facts is None else None
    if found is None:
        found = _found(texts, on, known, facts)
        if facts is None:
            known.keep(key, found)
        known.write()
    return Checked(texts, found)


def _read(name: str, path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} is no UTF-8: {error}. Mend it, or exclude the file.") from error


def _found(texts: Mapping[str, str], on: Sequence[AnyRule], known: Cache, facts: Facts | None) -> list[Finding]:
    project, found = parse(texts)
    by_file: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in run(project, [rule for rule in on if not isinstance(rule, Rule)], facts):
        by_file[finding.place.path].append(finding)
    of_source = [rule for rule in on if isinstance(rule, Rule)]
    keys = _keys(project, known)
    for module in project.modules:
        mine = known.findings(keys[module.path])
        if mine is None:
            mine = run_module(project, module, of_source)
        known.keep(keys[module.path], mine)
        found += applied(module, [*mine, *by_file[module.path]])
    return sorted(found, key=lambda one: (one.place, one.rule))


def _keys(project: Project, known: Cache) -> Mapping[str, str]:
    """A key for each file, of all that decides what is found in it: what it imports, and all classes there are."""
    texts = {module.path: module.text for module in project.modules}
    names = {name: module.path for module in project.modules for name in _names(module.path)}
    shared = known.key("classes", *(f"{cls.dotted} {', '.join(project.bases(cls))}" for cls in project.classes))
    imported = {module.path: module.imported for module in project.modules}
    return {
        path: known.key(shared, path, *(f"{each}\0{texts[each]}" for each in sorted(files)))
        for path, files in closures(imported, names).items()
    }


def _names(path: str) -> Iterator[str]:
    """The dotted names that a file answers to."""
    parts = dotted_name(path).split(".")
    return (".".join(parts[at:]) for at in range(len(parts)))
