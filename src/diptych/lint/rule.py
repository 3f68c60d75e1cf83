"""What a rule is, for ours and for those of others.

Rule: a rule tells what it finds by yielding findings; it never prints, and never raises for the code it reads.
"""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from diptych.lint.facts import Facts
from diptych.lint.findings import Finding, Severity
from diptych.lint.module import Module
from diptych.lint.project import Project


class Rule(NamedTuple):
    """A rule that reads one file. It may also look at what that file imports, and what those import, but at no other.

    `why` is the paragraph of its page: what breaks, when, for whom.
    """

    id: str  # a prefix and three digits, never used again for another idea
    title: str  # "query handler reads the write model"
    severity: Severity
    why: str
    check: Callable[[Module, Project], Iterable[Finding]]
    fix: Literal["safe", "unsafe", "none"] = "none"
    is_default: bool = True  # off: only when selected


class ProjectRule(NamedTuple):
    """A rule that needs all files at once, such as "nobody handles this command"."""

    id: str
    title: str
    severity: Severity
    why: str
    check_all: Callable[[Project], Iterable[Finding]]
    fix: Literal["safe", "unsafe", "none"] = "none"
    is_default: bool = True


class RegistryRule(NamedTuple):
    """A rule that needs the app itself, imported: what is registered, and under which names.

    Where it cannot be imported, `check_source` tells what the files alone tell for sure, if there is such a way.
    """

    id: str
    title: str
    severity: Severity
    why: str
    check_registry: Callable[[Facts, Project], Iterable[Finding]]
    check_source: Callable[[Project], Iterable[Finding]] | None = None
    fix: Literal["safe", "unsafe", "none"] = "none"
    is_default: bool = True


AnyRule = Rule | ProjectRule | RegistryRule
