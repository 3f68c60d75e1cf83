"""Whose table is which: those of events, and those of read models with the projection that owns each.

Rule: the framework itself makes the names; a test holds the tables of events against the schemas.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from diptych.lint.project import Found, Project
from diptych.store.tables import snake_case

EVENT_TABLES: Final = frozenset({"events", "streams", "event_types", "commands", "event_store", "store"})
_ATTACH: Final = re.compile(r"\bATTACH\b[^\n]*?\bAS\s+[\"'\\]*(\w+)", re.IGNORECASE)


class Owned(NamedTuple):
    """A read model's table. `owners` are its projections, as far as the project has them: one, if all is well.

    Where several services in one project have a table of this name, they are the projections of all of them.
    """

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
    known: Mapping[str, Owned] | None = project.memory.get(("tables", "owned"))
    if known is None:
        known = project.memory["tables", "owned"] = _owned(project)
    return known


def attached_names(project: Project) -> frozenset[str]:
    """Return the names by which the project attaches other files of SQLite."""
    known: frozenset[str] | None = project.memory.get(("tables", "attached"))
    if known is None:
        found = (_ATTACH.findall(module.text) for module in project.modules if "ATTACH" in module.text.upper())
        known = frozenset(name.lower() for names in found for name in names)
        project.memory["tables", "attached"] = known
    return known


def ownership(project: Project) -> Iterator[str]:
    """Yield, as text, all that decides whose table is which and is said in other files than the one that is checked."""
    yield from sorted(attached_names(project))
    for table, it in sorted(owned_tables(project).items()):
        places = [(each.dotted, each.module.place(each.node)) for each in (it.model, *it.owners)]
        yield f"{table} {places}"


def _owned(project: Project) -> Mapping[str, Owned]:
    owners: dict[str, list[Found]] = {}
    for cls in project.classes_of("Projection"):
        for model in dict.fromkeys(rows_of(cls, project)):
            owners.setdefault(model, []).append(cls)
    found: dict[str, Owned] = {}
    for cls in project.classes_of("ReadModel"):
        table = snake_case(cls.name.rpartition(".")[2])
        mine = tuple(owners.get(cls.dotted, ()))
        known = found.get(table)
        found[table] = Owned(table, cls, mine) if known is None else known._replace(owners=(*known.owners, *mine))
    return found


def rows_of(cls: Found, project: Project) -> Iterator[str]:
    """Yield the dotted names of a projection's read models: both of `Projection[Order | Customer]`."""
    for base in cls.node.bases if isinstance(cls.node, ast.ClassDef) else []:
        if isinstance(base, ast.Subscript):
            for node in ast.walk(base.slice):
                if isinstance(node, ast.Name | ast.Attribute):
                    found = _found(node, cls, project)
                    if found is not None:
                        yield found.dotted


def _found(node: ast.Name | ast.Attribute, cls: Found, project: Project) -> Found | None:
    """The class that a name in a class's brackets is: of the functions around it, else of the module."""
    around = cls.name
    while "." in around and isinstance(node, ast.Name):
        around = around.rpartition(".")[0]
        inner = project.find(f"{cls.module.name}.{around}.{node.id}")
        if inner is not None:
            return inner
    dotted = project.dotted(node, cls.module)
    return project.find(dotted) if dotted else None
