"""All rules, by number."""

from typing import Final

from diptych.lint.findings import Severity
from diptych.lint.rule import AnyRule
from diptych.lint.rules import (
    applying,
    committing,
    deciding,
    edge,
    fields,
    following,
    history,
    projecting,
    reacting,
    recording,
    refusing,
    remembering,
    repeating,
    schema,
    separation,
    unread,
    upcasting,
    waiting,
    wiring,
)

RULES: Final[tuple[AnyRule, ...]] = tuple(
    sorted(
        (
            *applying.RULES,
            *committing.RULES,
            *deciding.RULES,
            *edge.RULES,
            *fields.RULES,
            *following.RULES,
            *history.RULES,
            *projecting.RULES,
            *reacting.RULES,
            *recording.RULES,
            *refusing.RULES,
            *remembering.RULES,
            *repeating.RULES,
            *schema.RULES,
            *separation.RULES,
            *unread.RULES,
            *upcasting.RULES,
            *waiting.RULES,
            *wiring.RULES,
        ),
        key=lambda rule: rule.id,
    )
)  # fmt: skip

ON: Final = tuple(rule for rule in RULES if rule.is_default)
"""Those that are held when nothing is selected."""

BY_ID: Final = {rule.id: rule for rule in RULES}
META: Final = {
    "DP901": Severity.WARNING,
    "DP902": Severity.WARNING,
    "DP903": Severity.INFO,
    "DP904": Severity.ERROR,
}
"""What is said of comments, of the baseline, and of files that cannot be read."""
