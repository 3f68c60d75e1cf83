"""Whose table is which: those of events, and those of read models with the projection that owns each.

Rule: names are made as the framework makes them.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from diptych.lint.project import Found, Project

EVENT_TABLES: Final = frozenset(
    {"events", "streams", "event_types", "commands", "event_store", "subscriptions", "store"}
)
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Owned(NamedTuple):
    """A read model's table. `owners` are its projections, as far as the project has them: one, if all is well."""

    table: str
    model: Found
    owners: tuple[Found, ...]

    @property
    def owner(self) -> Found | None:
        """Its projection, if the project has one."""
        return self.owners[0] if self.owners else None

    def is_of(self, projection: str | None) -> bool:
        """Whether this projection owns it."""
        return any(each.dotted == projection for each in self.owners)


def owned_tables(project: Project) -> Mapping[str, Owned]:
    """Return the tables of the project's read models, by name."""
    found = _known.get(id(project))
    if found is None or found[0] is not project:
        _known.clear()
        found = _known[id(project)] = (project, _owned(project))
    return found[1]


_known: dict[int, tuple[Project, Mapping[str, Owned]]] = {}


def _owned(project: Project) -> Mapping[str, Owned]:
    owners: dict[str, list[Found]] = {}
    for cls in project.classes_of("Projection"):
        for model in dict.fromkeys(rows_of(cls, project)):
            owners.setdefault(model, []).append(cls)
    found = {}
    for cls in project.classes_of("ReadModel"):
        table = table_name(cls.name.rpartition(".")[2])
        found[table] = Owned(table, cls, tuple(owners.get(cls.dotted, ())))
    return found


def rows_of(cls: Found, project: Project) -> Iterator[str]:
    """Yield the dotted names of a projection's read models: both of `Projection[Order | Customer]`."""
    for base in cls.node.bases if isinstance(cls.node, ast.ClassDef) else []:
        if isinstance(base, ast.Subscript):
            for node in ast.walk(base.slice):
                if isinstance(node, ast.Name | ast.Attribute):
                    dotted = project.dotted(node, cls.module)
                    found = project.find(dotted) if dotted else None
                    if found is not None:
                        yield found.dotted


def table_name(model: str) -> str:
    """Return the table of a read model's class: `HTTPRequestLog` is `http_request_log`."""
    return _WORD.sub("_", model).lower()
