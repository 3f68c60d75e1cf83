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
    """A rule about what an application is made of once it is imported. Without an application it finds nothing."""

    id: str
    title: str
    severity: Severity
    why: str
    check_facts: Callable[[Facts, Project], Iterable[Finding]]
    fix: Literal["safe", "unsafe", "none"] = "none"
    is_default: bool = True


AnyRule = Rule | ProjectRule | RegistryRule
