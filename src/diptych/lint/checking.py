"""One run of `diptych check`: files in, findings out.

Rule: nothing is printed here.
"""

import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from diptych.lint.cache import Cache, closures
from diptych.lint.comments import applied
from diptych.lint.facts import Facts
from diptych.lint.files import find_files, read_source
from diptych.lint.findings import Finding
from diptych.lint.project import Project
from diptych.lint.rule import AnyRule, RegistryRule, Rule
from diptych.lint.running import dotted_name, not_parsed, parse, run, run_module
from diptych.lint.settings import Settings
from diptych.lint.tables import ownership

_LIBRARY: Final = "diptych"


class Checked(NamedTuple):
    """What was looked at, and what was found, by file and line. `texts` are the files as they were read.

    `silent` are the rules that did not run, None where not everything could be looked at: a part of the project, or
    files that are no Python. What was not found then may be there all the same.
    """

    texts: dict[str, str]
    findings: list[Finding]
    silent: frozenset[str] | None


def chosen(rules: Iterable[AnyRule], settings: Settings) -> list[AnyRule]:
    """Return the rules that are on: those that are selected, else those that are by default, less those ignored."""
    wanted = [rule for rule in rules if (rule.id.startswith(settings.select) if settings.select else rule.is_default)]
    return [rule for rule in wanted if not (settings.ignore and rule.id.startswith(settings.ignore))]


def _of_use(rules: Iterable[AnyRule], texts: Mapping[str, str]) -> list[AnyRule]:
    """Leave our own rules out where nothing is of Diptych: they would find nothing, and take their time."""
    is_ours = any(_LIBRARY in text for text in texts.values())
    return [rule for rule in rules if is_ours or not rule.id.startswith("DP")]


def check(
    paths: Sequence[Path],
    rules: Iterable[AnyRule],
    settings: Settings,
    facts: Facts | None = None,
    *,
    cache: Path | None = None,
) -> Checked:
    """Hold the rules against files; what was found before is taken from a cache.

    :raises ConfigurationError: a path is not there.
    """
    rules = tuple(rules)
    texts, faults = _read(find_files(paths, settings.root, settings.exclude))
    wanted = chosen(rules, settings)
    is_all = not faults and any(settings.root.resolve().is_relative_to(path.resolve()) for path in paths)
    silent = _silent(rules, wanted, facts) if is_all else None
    on = _of_use(wanted, texts)
    known = Cache(cache, on)
    key = known.key("all of it", "part" if silent is None else ", ".join(sorted(silent)), *texts, *texts.values())
    found = known.findings(key) if facts is None else None
    if found is None:
        with _uncollected():
            found = _found(texts, on, known, facts, silent)
        if facts is None:
            known.keep(key, found)
        known.write()
    if any(one.rule == "DP904" for one in found):
        silent = None
    left = [one for one in faults + found if not one.rule.startswith(settings.ignore)]
    return Checked(texts, sorted(left, key=lambda one: (one.place, one.rule)), silent)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Trees are kept until the end: to look again and again for what could be freed takes half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _silent(rules: Iterable[AnyRule], on: Sequence[AnyRule], facts: Facts | None) -> frozenset[str]:
    """The rules that do not run: those that are off, and those about an app where none was asked."""
    running = {rule.id for rule in on if facts is not None or not isinstance(rule, RegistryRule)}
    return frozenset(rule.id for rule in rules) - running


def _read(files: Mapping[str, Path]) -> tuple[dict[str, str], list[Finding]]:
    texts, faults = {}, []
    for name, path in files.items():
        try:
            texts[name] = read_source(path)
        except (SyntaxError, UnicodeDecodeError) as error:
            faults.append(not_parsed(name, error))
    return texts, faults


def _found(
    texts: Mapping[str, str],
    on: Sequence[AnyRule],
    known: Cache,
    facts: Facts | None,
    silent: frozenset[str] | None,
) -> list[Finding]:
    project, found = parse(texts)
    if found:
        silent = None
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
        found += applied(module, [*mine, *by_file[module.path]], silent)
    return found


def _keys(project: Project, known: Cache) -> Mapping[str, str]:
    """A key for each file, of what decides about it: what it imports, all classes, and whose table is which."""
    if not known.is_kept:
        return {module.path: module.path for module in project.modules}
    texts = {module.path: known.key(module.path, module.text) for module in project.modules}
    names = {name: module.path for module in project.modules for name in _names(module.path)}
    classes = (f"{cls.dotted} {', '.join(project.bases(cls))}" for cls in project.classes)
    shared = known.key("classes", *classes, "tables", *ownership(project))
    imported = {module.path: module.imported for module in project.modules}
    needed = closures(imported, names)
    together = {files: known.key(*(texts[each] for each in sorted(files))) for files in set(needed.values())}
    return {path: known.key(shared, path, together[files]) for path, files in needed.items()}


def _names(path: str) -> Iterator[str]:
    """The dotted names that a file answers to."""
    parts = dotted_name(path).split(".")
    return (".".join(parts[at:]) for at in range(len(parts)))
