"""Rules that others bring, by the entry point group `diptych.rules`.

Rule: each is a `Rule` or `ProjectRule`, or several of them; its id has a prefix of its own.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from diptych.errors import ConfigurationError
from diptych.lint.rule import AnyRule, ProjectRule, RegistryRule, Rule
from diptych.lint.rules.table import BY_ID

GROUP: Final = "diptych.rules"
_ID: Final = re.compile(r"[A-Z]{2,}[0-9]{3}")


def all_rules(found: Iterable[EntryPoint] | None = None) -> Mapping[str, AnyRule]:
    """Return every rule by its id: ours, and those that are installed.

    :raises ConfigurationError: one that is installed cannot be loaded, or is no rule.
    """
    known: dict[str, AnyRule] = dict(BY_ID)
    for entry in entry_points(group=GROUP) if found is None else found:
        for rule in _loaded(entry):
            if rule.id in known:
                raise ConfigurationError(
                    f"{_of(entry)} brings {rule.id}, which is there already. Give it another number."
                )
            known[rule.id] = rule
    return dict(sorted(known.items()))


def _loaded(entry: EntryPoint) -> Iterable[AnyRule]:
    try:
        it = entry.load()
    except Exception as error:
        raise ConfigurationError(f"{_of(entry)} cannot be loaded ({error!r}). Mend it, or uninstall it.") from error
    rules = (it,) if isinstance(it, Rule | ProjectRule | RegistryRule) else it
    if not isinstance(rules, Iterable) or isinstance(rules, str):
        raise ConfigurationError(f"{_of(entry)} is no rule, but {rules!r}. Name a Rule, or a tuple of them.")
    for rule in rules:
        if not isinstance(rule, Rule | ProjectRule | RegistryRule):
            raise ConfigurationError(
                f"{_of(entry)} brings {rule!r}, which is no rule. Name a Rule, or a tuple of them."
            )
        if not _ID.fullmatch(rule.id) or rule.id.startswith("DP"):
            raise ConfigurationError(
                f"{_of(entry)} brings a rule {rule.id!r}. Give it a prefix of its own, not DP, and three digits: AB101."
            )
        yield rule


def _of(entry: EntryPoint) -> str:
    return f"The entry point {entry.name} of {GROUP} ({entry.value})"
