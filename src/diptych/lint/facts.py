"""What an application is made of, as its own process tells it.

Rule: plain values that come as JSON; nothing here imports anything of the application.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Where(NamedTuple):
    """A file and a line, and the qualified name there."""

    path: str
    line: int
    name: str


class Handled(NamedTuple):
    """A message and who handles it."""

    message: str  # dotted name of the class
    where: Where  # of the handler


class StoredClass(NamedTuple):
    """A class of events: its stored name and version, and each field's JSON schema, canonical.

    `fields` are as they are written, `read` as they are accepted. `is_base`: others inherit from it, nothing takes it.
    """

    event: str
    version: int
    where: Where
    fields: Mapping[str, str]
    required: frozenset[str]
    read: Mapping[str, str]
    is_base: bool
    is_inert: bool


class Facts(NamedTuple):
    """All of it. `problems` are what a start would refuse, each beginning with where it is.

    `file` is where the app was found, `lock` the text of the events.lock that belongs to it, if there is one.
    """

    handled: tuple[Handled, ...]
    events: tuple[StoredClass, ...]
    upcasts: frozenset[tuple[str, int]]  # stored name, and the version that a step leads from
    consumed: frozenset[str]  # stored names that an aggregate or a projection takes
    problems: tuple[str, ...]
    files: frozenset[str]  # of the modules that were imported
    file: str = ""
    lock: str = ""


def facts_of(said: Mapping[str, Any]) -> Facts:
    """Read what a process told."""
    return Facts(
        tuple(Handled(each["message"], Where(*each["where"])) for each in said["handled"]),
        tuple(
            StoredClass(**{**each, "where": Where(*each["where"]), "required": frozenset(each["required"])})
            for each in said["events"]
        ),
        frozenset((name, version) for name, version in said["upcasts"]),
        frozenset(said["consumed"]),
        tuple(said["problems"]),
        frozenset(said["files"]),
        said.get("file", ""),
        said.get("lock", ""),
    )
