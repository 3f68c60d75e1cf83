"""DP406, DP414: every stored event has one class, and a way up to it."""

from collections import defaultdict
from collections.abc import Iterator

from diptych.lint.facts import Facts, StoredClass
from diptych.lint.findings import Finding, Note, Severity
from diptych.lint.lock import locked
from diptych.lint.project import Project
from diptych.lint.rule import RegistryRule
from diptych.lint.rules.wiring import place_of


def _gaps(facts: Facts, project: Project) -> Iterator[Finding]:
    lock = locked(facts)
    for event in facts.events:
        place = place_of(event.where, project)
        if place is None:
            continue
        steps = {version for name, version in facts.upcasts if name == event.event}
        begin = min([*steps, *lock.get(event.event, ())], default=event.version - 1)
        for version in range(max(begin, 1), event.version):
            if version not in steps:
                message = f"`{event.event}` is version {event.version}, and nothing leads from {version} to the next"
                hint = f'Add `@app.upcast("{event.event}", from_version={version})`: it gets the old payload, a dict.'
                yield Finding("DP406", place, message, hint, event.where.name, f"v{version} cannot be read")
                break
        for version in sorted(each for each in steps if each >= event.version):
            message = f"an upcaster leads from version {version} of `{event.event}`, which is version {event.version}"
            hint = f"Give the class `version={version + 1}`, or delete the upcaster."
            yield Finding("DP406", place, message, hint, event.where.name, f"is version {event.version}")


def _same_name(facts: Facts, project: Project) -> Iterator[Finding]:
    by_name: defaultdict[str, list[StoredClass]] = defaultdict(list)
    for event in facts.events:
        if place_of(event.where, project) is not None and "<locals>" not in event.where.name:
            by_name[event.event].append(event)
    for name, (first, *others) in by_name.items():
        for event in others:
            place, there = place_of(event.where, project), place_of(first.where, project)
            if place is not None and there is not None and place != there:
                message = f"`{name}` is claimed by `{first.where.name}` and `{event.where.name}`"
                hint = f'Give one a name of its own, `class {event.where.name}(DomainEvent, name="...")`, or delete it.'
                yield Finding("DP414", place, message, hint, event.where.name, "again", (Note(there, "the other one"),))


RULES = (
    RegistryRule(
        "DP406",
        "gap among the upcasters",
        Severity.ERROR,
        "Events are kept as they were written. One of an old version is brought up step by step; where a step is "
        "missing, every stream that has such an event cannot be loaded.",
        _gaps,
    ),
    RegistryRule(
        "DP414",
        "two classes, one stored name",
        Severity.ERROR,
        "A stored event is read by the class of its name. With two of them, which one is chance.",
        _same_name,
    ),
)
