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
    """Return both lists as one diff: `-` was expected, `+` was recorded."""
    shown = [_without_fields(event) if _stands_for(event, expected) else _lines(event) for event in recorded]
    wanted = [[f"{event.__name__}(...)"] if isinstance(event, type) else _lines(event) for event in expected]
    lines = ndiff(_flat(wanted) or ["nothing"], _flat(shown) or ["nothing"])
    return "\n".join(line.rstrip() for line in lines if not line.startswith("?"))


def _stands_for(event: DomainEvent, expected: Sequence[Expected]) -> bool:
    return any(wanted is type(event) for wanted in expected)


def _without_fields(event: DomainEvent) -> list[str]:
    return [f"{type(event).__name__}(...)"]


def _lines(event: DomainEvent) -> list[str]:
    fields = [f"    {name}={getattr(event, name)!r}," for name in type(event).model_fields]
    return [f"{type(event).__name__}(", *fields, ")"] if fields else [f"{type(event).__name__}()"]


def _flat(events: Sequence[Sequence[str]]) -> list[str]:
    return [line for event in events for line in event]
