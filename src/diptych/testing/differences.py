"""Says how what happened differs from what was expected, field by field, for people.

Rule: text only; what is the case was found out before.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from diptych.messages import DomainEvent
from diptych.testing.values import short
from diptych.write.comparing import differing, is_same

Expected = DomainEvent | type[DomainEvent]


def is_as_expected(expected: Sequence[Expected], recorded: Sequence[DomainEvent]) -> bool:
    """Whether the events are these, in this order; a class stands for any event of it."""
    return len(expected) == len(recorded) and all(map(_is_it, expected, recorded))


def difference(expected: Sequence[Expected], recorded: Sequence[DomainEvent]) -> str:
    """Return both lists as one, each event with what differs: `-` was expected, `+` was recorded."""
    lines: list[str] = []
    for number, (wanted, event) in enumerate(_aligned(expected, recorded), 1):
        parts = list(_pair(wanted, event))
        lines.append(f"{number:>4}  {parts[0]}")
        lines += [f"      {part}" for part in parts[1:]]
    return "\n".join(lines) or "      nothing"


def fields(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the fields that differ, two lines each: `-` was expected, `+` is there."""
    lines: list[str] = []
    for name in [name for name in expected if name in differing(expected, found)]:
        lines += [f"  - {name} = {short(expected[name])}", f"  + {name} = {short(found.get(name))}"]
    return lines


def hint(expected: Sequence[Expected], recorded: Sequence[DomainEvent]) -> str:
    """Return what to do about a difference, as far as it shows."""
    kinds = [wanted if isinstance(wanted, type) else type(wanted) for wanted in expected]
    found = [type(event) for event in recorded]
    if not recorded:
        return (
            "Nothing was recorded. Does the method call self.record(...), and the handler call the method? "
            "If nothing shall happen, write then_nothing()."
        )
    if not expected:
        return f"If that is right, write then({', '.join(f'{kind.__name__}(...)' for kind in found)})."
    if kinds != found and sorted(map(str, kinds)) == sorted(map(str, found)):
        return "The same events in another order. Their order is that of the log: write them as they are recorded."
    if kinds != found:
        more = [kind.__name__ for kind in found if kind not in kinds]
        less = [kind.__name__ for kind in kinds if kind not in found]
        told = [f"expected no {name}" for name in more] + [f"missed a {name}" for name in less]
        return f"You {' and '.join(told) or 'expected another number of them'}. then() names all events, in order."
    return _hint_of_values(expected, recorded)


def named(values: Mapping[str, Any]) -> list[str]:
    """Return a line for each value."""
    return [f"    {name} = {short(value)}" for name, value in values.items()]


def data(message: BaseModel) -> dict[str, Any]:
    """Return the fields of a message or row."""
    return {name: getattr(message, name) for name in type(message).model_fields}


def _hint_of_values(expected: Sequence[Expected], recorded: Sequence[DomainEvent]) -> str:
    names: dict[str, Any] = {}
    for wanted, event in zip(expected, recorded, strict=True):
        if not isinstance(wanted, type):
            names.update({name: getattr(event, name) for name in differing(data(wanted), data(event))})
    changing = [name for name, value in names.items() if isinstance(value, UUID | datetime)]
    if changing and len(changing) == len(names):
        return (
            f"{', '.join(changing)} is made while the command runs. Have the command carry it, take the time from "
            "`clock: Clock` (Scenario(..., at=...)), or expect the class: then(Event) takes any values."
        )
    return f"The right events, but other values: look where {', '.join(names)} is computed, or mend the test."


def _is_it(wanted: Expected, event: DomainEvent) -> bool:
    return type(event) is wanted if isinstance(wanted, type) else is_same(wanted, event)


def _aligned(
    expected: Sequence[Expected], recorded: Sequence[DomainEvent]
) -> Iterator[tuple[Expected | None, DomainEvent | None]]:
    """Pair what was expected with what was recorded, events of one class with each other where the order allows."""
    kinds = [wanted if isinstance(wanted, type) else type(wanted) for wanted in expected]
    matcher = SequenceMatcher(None, kinds, [type(event) for event in recorded], autojunk=False)
    for what, first, last, start, end in matcher.get_opcodes():
        if what == "equal":
            yield from zip(expected[first:last], recorded[start:end], strict=True)
        else:
            yield from ((wanted, None) for wanted in expected[first:last])
            yield from ((None, event) for event in recorded[start:end])


def _pair(wanted: Expected | None, event: DomainEvent | None) -> Iterator[str]:
    if wanted is None and event is not None:
        yield f"+ {short(event)}"
    elif event is None:
        yield f"- {wanted.__name__}(...)" if isinstance(wanted, type) else f"- {short(wanted)}"
    else:
        yield type(event).__name__
        if isinstance(wanted, DomainEvent):
            yield from fields(data(wanted), data(event))
