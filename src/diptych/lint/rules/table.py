"""All rules, by number."""

from typing import Final

from diptych.lint.rule import AnyRule
from diptych.lint.rules import applying, repeating, separation, wiring

RULES: Final[tuple[AnyRule, ...]] = tuple(
    sorted(
        (
            *applying.RULES,
            *repeating.RULES,
            *separation.RULES,
            *wiring.RULES,
        ),
        key=lambda rule: rule.id,
    )
)  # fmt: skip

BY_ID: Final = {rule.id: rule for rule in RULES}
META: Final = ("DP901", "DP902", "DP903", "DP904")
"""What is said of comments, of the baseline, and of files that cannot be read."""
