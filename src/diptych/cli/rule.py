"""What `diptych rule` does.

Rule: only rules are loaded and no checker, for somebody waits to read a page.
"""

from difflib import get_close_matches

from diptych.errors import ConfigurationError
from diptych.lint.pages import meta_page, meta_titles, page
from diptych.lint.plugins import all_rules
from diptych.lint.rules.table import META


def tell(id: str | None) -> None:
    """Write a rule's page, or a line for each rule. :raises ConfigurationError: there is no such rule."""
    rules = all_rules()
    if id is None:
        for rule in rules.values():
            print(f"{rule.id}  {rule.severity:8} {'' if rule.fix == 'none' else rule.fix:7} {rule.title}")
        for each, title in meta_titles().items():
            print(f"{each}  {META[each]:8} {'safe' if each == 'DP902' else '':7} {title}")
        return
    wanted = id.upper()
    if wanted in META:
        print(meta_page(wanted))
    elif wanted in rules:
        print(page(rules[wanted]))
    else:
        near = get_close_matches(wanted, [*rules, *META], 1)
        hint = f"Did you mean {near[0]}?" if near else "All are listed by: diptych rule"
        raise ConfigurationError(f"There is no rule {id}. {hint}")
