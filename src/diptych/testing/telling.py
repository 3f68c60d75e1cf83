"""The sentences of a story that ends otherwise: what was expected, what happened, the state before, and a hint.

Rule: text only; `scenario.py` decides.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.testing.differences import Expected, difference, fields, hint, named
from diptych.testing.playing import Outcome
from diptych.testing.values import short
from diptych.write.aggregate import Aggregate

__all__ = ["short"]


def with_context(told: str, outcome: Outcome | None, before: Sequence[tuple[Aggregate, Mapping[str, Any]]]) -> str:
    """Add what was done, and how the aggregates were before it."""
    lines = [*told.partition("\n\nHint:   ")[:1]]
    if outcome is not None:
        lines += ["", f"When:   {outcome.told}"]
    for aggregate, state in before:
        lines += [f"Before: {type(aggregate).__name__} {aggregate.id}, {_age(aggregate.version)}"]
        lines += [f"    {line}" for line in named(state)]
    advice = told.partition("\n\nHint:   ")[2]
    return "\n".join([*lines, "", f"Hint:   {advice}"] if advice else lines)


def other_events(outcome: Outcome, expected: Sequence[Expected]) -> str:
    """Tell that it recorded other events."""
    return _hinted(
        f"{outcome.asked} recorded other events than expected (- expected, + recorded):\n\n"
        + difference(expected, outcome.events),
        hint(expected, outcome.events),
    )


def is_refused(outcome: Outcome) -> bool:
    """Whether a request was answered with an error."""
    return outcome.response is not None and bool(outcome.response.is_error)


def refused(outcome: Outcome) -> str:
    """Tell that it was refused, and nobody expected that."""
    if outcome.error is None:
        return _hinted(
            f"{outcome.asked} was answered {_answer(outcome)}",
            f"If that is right, write then_status({outcome.response.status_code}).then_nothing().",
        )
    return _hinted(
        f"{outcome.asked} raised {_error(outcome.error)}",
        f"If that is right, write then_rejected({type(outcome.error).__name__}). "
        "If not, does given() say all that must have happened before?",
    )


def not_rejected(outcome: Outcome, error: type[Exception]) -> str:
    """Tell that it was not refused."""
    if is_refused(outcome):
        return f"{outcome.asked} was not refused with {error.__name__}, but answered {_answer(outcome)}"
    recorded = difference((), outcome.events)
    return _hinted(
        f"{outcome.asked} was not refused with {error.__name__}. It recorded:\n\n{recorded}",
        "The rule is not there, or the state before (above) does not break it.",
    )


def other_error(outcome: Outcome, error: type[Exception], match: str) -> str:
    """Tell that it was refused otherwise."""
    assert outcome.error is not None
    wanted = f"{error.__name__}: ...{match}..." if match else error.__name__
    return _hinted(
        f"{outcome.asked} raised another error (- expected, + raised):\n\n"
        f"    - {wanted}\n    + {_error(outcome.error)}",
        "match is a part of the error's text, as it is written."
        if isinstance(outcome.error, error)
        else "Another rule said no first, or the code failed: its traceback is above.",
    )


def recorded_all_the_same(outcome: Outcome) -> str:
    """Tell that it was refused and yet recorded something."""
    recorded = difference((), outcome.events)
    return _hinted(
        f"{outcome.asked} was refused, and recorded events all the same:\n\n{recorded}",
        "Ask before you record: what is recorded before the error is lost, or was a command of its own.",
    )


def other_answer(outcome: Outcome, status: int, wanted: Mapping[str, Any]) -> str:
    """Return how an answer differs from what was expected, empty if it does not."""
    response = outcome.response
    if response.status_code != status:
        return _hinted(
            f"{outcome.asked} was answered {_answer(outcome)}\nexpected {status}",
            _lacking(outcome)
            or ("The body says why." if response.is_error else "The route says which status it answers with."),
        )
    body = _json(response)
    found = body if isinstance(body, Mapping) else {}
    lines = fields({name: json.loads(json.dumps(value, default=str)) for name, value in wanted.items()}, found)
    if not lines:
        return ""
    told = "\n".join([f"{outcome.asked} was answered otherwise (- expected, + answered):", "", *lines])
    return _hinted(told, _lacking(outcome)) if outcome.lacking else told


def not_to_be_done(action: object) -> str:
    """Tell that `when` cannot do this."""
    return f"when() takes a command, a request, or a callable that gets the aggregate, not {action!r}."


def _lacking(outcome: Outcome) -> str:
    return "\n        ".join(outcome.lacking)


def _hinted(told: str, advice: str) -> str:
    return f"{told}\n\nHint:   {advice}"


def _age(version: int) -> str:
    return "new" if version == 0 else f"version {version}"


def _error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _answer(outcome: Outcome) -> str:
    return f"{outcome.response.status_code} {outcome.response.text[:500]}"


def _json(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
