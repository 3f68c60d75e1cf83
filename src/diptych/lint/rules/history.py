"""DP402, DP404, DP405: what was stored can be read by today's classes; `events.lock` says what was."""

from collections.abc import Iterator
from typing import Final

from diptych.lint.facts import Facts, StoredClass, Where
from diptych.lint.findings import Finding, Place, Severity
from diptych.lint.lock import Locked, demanded, locked, narrowed, removed, stored_classes
from diptych.lint.project import Project
from diptych.lint.rule import RegistryRule
from diptych.lint.rules.wiring import place_of

_START: Final = "<module>"


def _gone(facts: Facts, project: Project) -> Iterator[Finding]:
    lock, classes = locked(facts), {each.event: each for each in stored_classes(facts)}
    for name, versions in lock.items():
        newest = max(versions, default=0)
        known = classes.get(name)
        if known is None:
            yield from _without_class(name, versions[newest], facts, project)
            continue
        place = place_of(known.where, project)
        if place is not None and known.version < newest:
            message = f"`{name}` was stored as version {newest}, and its class is version {known.version}"
            hint = f"Give the class `version={newest}`: what is stored cannot be brought down."
            yield Finding("DP402", place, message, hint, known.where.name, f"v{newest} cannot be read")


def _without_class(name: str, known: Locked, facts: Facts, project: Project) -> Iterator[Finding]:
    """Point at the class that it may have become: one with its fields that was never stored; else at the app."""
    lock = locked(facts)
    like = [
        each
        for each in stored_classes(facts)
        if known.fields and each.event not in lock and each.fields.keys() == known.fields.keys()
    ]
    where = like[0].where if len(like) == 1 else Where(facts.file, 1, _START)
    place = place_of(where, project)
    if place is None:
        return
    message = f"`{name}` is stored, and no class has this name"
    if len(like) == 1:
        version = f", version={max(lock[name])}" if max(lock[name]) > 1 else ""
        message += f"; `{where.name}` has its fields"
        hint = f'If it was renamed, keep the stored name: `class {where.name}(DomainEvent, name="{name}"{version})`.'
    else:
        hint = (
            f'Declare its class again, or write `name="{name}"` on the class that it became. Events are kept for ever.'
        )
    yield Finding("DP402", place, message, hint, where.name, "no reader gets past such an event")


def _known(facts: Facts, project: Project) -> Iterator[tuple[StoredClass, Locked, Place]]:
    lock = locked(facts)
    for event in stored_classes(facts):
        known, place = lock.get(event.event, {}).get(event.version), place_of(event.where, project)
        if known is not None and place is not None:
            yield event, known, place


def _required(facts: Facts, project: Project) -> Iterator[Finding]:
    for event, known, place in _known(facts, project):
        for name, what in demanded(known, event):
            message = f"`{event.where.name}.{name}` is {what}; stored events of version {event.version} lack it"
            hint = f"Give it a default, or {_bump(event)}."
            yield Finding("DP404", place, message, hint, event.where.name, "stored events have no such field")


def _less(facts: Facts, project: Project) -> Iterator[Finding]:
    for event, known, place in _known(facts, project):
        for name, what in [*removed(known, event), *narrowed(known, event)]:
            message = f"`{event.where.name}.{name}` is {what}; stored events of version {event.version} have it"
            hint = f"Take it back, or {_bump(event)}."
            yield Finding("DP405", place, message, hint, event.where.name, "stored events are not read")


def _bump(event: StoredClass) -> str:
    write = f'`@app.upcast("{event.event}", from_version={event.version})`'
    return f"give the class `version={event.version + 1}` and write {write}, which gets the old payload, a dict"


RULES = (
    RegistryRule(
        "DP402",
        "stored event without a class",
        Severity.ERROR,
        "Events are stored under a name, which is the class's own unless it says another. When the class is renamed "
        "or deleted, what was stored has no class any more, and every reader of the log stops there. What was stored "
        "is in events.lock, which `diptych event lock` writes.",
        _gone,
    ),
    RegistryRule(
        "DP404",
        "required field added without a version",
        Severity.ERROR,
        "Events that were stored before do not have the new field, so none of them can be read: aggregates are not "
        "loaded, and projections stop.",
        _required,
    ),
    RegistryRule(
        "DP405",
        "field removed, or takes less",
        Severity.ERROR,
        "An event refuses fields that it does not know and values that do not fit. What was stored before has the old "
        "field with the old values, and is kept for ever.",
        _less,
    ),
)
