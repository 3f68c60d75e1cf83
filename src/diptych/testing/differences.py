"""Says how the events that were expected differ from those that were recorded, for people."""

from collections.abc import Sequence
from difflib import ndiff

from diptych.messages import DomainEvent

Expected = DomainEvent | type[DomainEvent]


def is_as_expected(expected: Sequence[Expected], recorded: Sequence[DomainEvent]) -> bool:
    """Whether the events are these, in this order; a class stands for any event of it."""
    return len(expected) == len(recorded) and all(
        type(event) is wanted if isinstance(wanted, type) else event == wanted
        for wanted, event in zip(expected, recorded, strict=True)
    )


def difference(expected: Sequence[Expected], recorded: Sequence[DomainEvent]) -> str:
    """Return both lists as one diff: `-` was expected, `+` was recorded. What a class stands for has no fields."""
    classes = [*expected[: len(recorded)], *[None] * (len(recorded) - len(expected))]
    shown = [
        _without_fields(event) if type(event) is wanted else _lines(event)
        for event, wanted in zip(recorded, classes, strict=True)
    ]
    wanted = [[f"{event.__name__}(...)"] if isinstance(event, type) else _lines(event) for event in expected]
    lines = ndiff(_flat(wanted) or ["nothing"], _flat(shown) or ["nothing"])
    return "\n".join(line.rstrip() for line in lines if not line.startswith("?"))


def _without_fields(event: DomainEvent) -> list[str]:
    return [f"{type(event).__name__}(...)"]


def _lines(event: DomainEvent) -> list[str]:
    fields = [f"    {name}={getattr(event, name)!r}," for name in type(event).model_fields]
    return [f"{type(event).__name__}(", *fields, ")"] if fields else [f"{type(event).__name__}()"]


def _flat(events: Sequence[Sequence[str]]) -> list[str]:
    return [line for event in events for line in event]
