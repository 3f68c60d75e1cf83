"""Holds rules against files.

Rule: files come in as text and findings go out; reading, caching and printing are for others.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from diptych.lint.facts import Facts
from diptych.lint.findings import Finding, Place
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.rule import AnyRule, ProjectRule, RegistryRule, Rule


def parse(files: Mapping[str, str]) -> tuple[Project, list[Finding]]:
    """Parse files, by path relative to the project's root. What cannot be parsed is a finding (DP904)."""
    modules, faults = [], []
    for path, text in files.items():
        try:
            modules.append(Module(path, dotted_name(path), text))
        except (SyntaxError, ValueError, RecursionError) as error:
            faults.append(not_parsed(path, error))
    return Project(modules), faults


def run(project: Project, rules: Iterable[AnyRule], facts: Facts | None = None) -> list[Finding]:
    """Return what the rules find, by file and line; `facts` are of the application, if it could be asked."""
    found: list[Finding] = []
    for rule in rules:
        if isinstance(rule, RegistryRule):
            found += () if facts is None else rule.check_facts(facts, project)
        elif isinstance(rule, ProjectRule):
            found += rule.check_all(project)
        else:
            found += (finding for module in project.modules for finding in rule.check(module, project))
    return sorted(set(found), key=lambda finding: (finding.place, finding.rule, finding.message))


def run_module(project: Project, module: Module, rules: Iterable[Rule]) -> list[Finding]:
    """Return what rules of source find in one file."""
    found = {finding for rule in rules for finding in rule.check(module, project)}
    return sorted(found, key=lambda finding: (finding.place, finding.rule, finding.message))


def dotted_name(path: str) -> str:
    """Return a file's dotted name: `src/orders/__init__.py` is `orders`."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    parts = [part for part in parts if part not in ("/", "..", ".")]
    if parts[:1] == ["src"]:
        parts = parts[1:]
    if parts[-1:] == ["__init__"] and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


def not_parsed(path: str, error: Exception) -> Finding:
    """Return what is found in a file that cannot be read as Python (DP904)."""
    line = getattr(error, "lineno", None) or 1
    column = getattr(error, "offset", None) or 1
    message = f"{error.msg if isinstance(error, SyntaxError) else error}; the file is not checked"
    place = Place(path, line, column, line, column + 1)
    return Finding("DP904", place, message, "Mend it, or exclude the file.", "<module>")
