"""All files under check, and what a dotted name in one of them stands for.

Rule: what cannot be looked up is None, and None is never a finding.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from diptych.lint.module import Definition, Module

_LIBRARY = "diptych"


class Found(NamedTuple):
    """A function or class of the project: its module, its node, and its name in that module (`Order.create`)."""

    module: Module
    node: Definition
    name: str

    @property
    def dotted(self) -> str:
        """Its name from everywhere."""
        return f"{self.module.name}.{self.name}"


class Project:
    """The modules under check, by name. A module answers to the tail of its name, too, where only one has that tail."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules = tuple(modules)
        self.memory: dict[tuple[str, object], Any] = {}  # what was worked out once: scopes, roles, calls
        self._found: dict[str, Found | None] = {}
        self._ancestors: dict[str, tuple[str, ...]] = {}

    @cached_property
    def _by_name(self) -> dict[str, Module]:
        exact: dict[str, Module] = {}
        tails: dict[str, list[Module]] = {}
        for module in self.modules:
            exact[module.name] = module
            parts = module.name.split(".")
            for at in range(1, len(parts)):
                tails.setdefault(".".join(parts[at:]), []).append(module)
        unique = {tail: found[0] for tail, found in tails.items() if len(found) == 1}
        return unique | exact

    def module(self, dotted: str) -> Module | None:
        """Return the module of this name."""
        return self._by_name.get(dotted)

    def find(self, dotted: str) -> Found | None:
        """Return the function or class of the project that a dotted name leads to, through imports of others too."""
        if dotted not in self._found:
            self._found[dotted] = None  # imports that go in a circle lead nowhere
            self._found[dotted] = self._look_up(dotted)
        return self._found[dotted]

    def _look_up(self, dotted: str) -> Found | None:
        parts = dotted.split(".")
        for at in range(len(parts) - 1, 0, -1):
            module = self.module(".".join(parts[:at]))
            if module is None:
                continue
            rest = ".".join(parts[at:])
            if rest in module.defined:
                return Found(module, module.defined[rest], rest)
            first, _, more = rest.partition(".")
            if first in module.imports:
                through = module.imports[first]
                return self.find(f"{through}.{more}" if more else through)
            inherited = module.defined.get(first)
            if isinstance(inherited, ast.ClassDef) and more:
                return self._inherited(Found(module, inherited, first), more)
            return None
        return None

    def _inherited(self, cls: Found, member: str) -> Found | None:
        for base in self.bases(cls):
            found = self.find(f"{base}.{member}")
            if found is not None:
                return found
        return None

    def bases(self, cls: Found) -> list[str]:
        """Return the dotted names of a class's direct bases, without what is in their brackets."""
        found = []
        for base in cls.node.bases if isinstance(cls.node, ast.ClassDef) else []:
            name = self.dotted(base.value if isinstance(base, ast.Subscript) else base, cls.module)
            if name is not None:
                found.append(name)
        return found

    def ancestors(self, dotted: str, _seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """Yield a class's dotted name and those of all its bases, as far as the project's files tell."""
        if dotted in _seen:
            return
        yield dotted
        found = self.find(dotted)
        if found is not None:
            for base in self.bases(found):
                yield from self.ancestors(base, _seen | {dotted})

    def is_a(self, dotted: str | None, *names: str) -> bool:
        """Whether a class is, or inherits from, one of these of Diptych: `is_a("orders.Order", "Aggregate")`."""
        return dotted is not None and any(
            _is_ours(each) and each.rpartition(".")[2] in names for each in self._lineage(dotted)
        )

    def _lineage(self, dotted: str) -> tuple[str, ...]:
        if dotted not in self._ancestors:
            self._ancestors[dotted] = tuple(self.ancestors(dotted))
        return self._ancestors[dotted]

    def uses_library(self, module: Module) -> bool:
        """Whether a module imports Diptych, itself or through others of the project. If not, it has no part in it."""
        return module in self._users

    @cached_property
    def _users(self) -> set[Module]:
        importers: dict[Module, list[Module]] = {}
        for module in self.modules:
            for each in self._imported(module):
                importers.setdefault(each, []).append(module)
        found: set[Module] = set()
        ahead = [module for module in self.modules if any(_is_ours(name) for name in module.imported)]
        while ahead:
            module = ahead.pop()
            if module not in found:
                found.add(module)
                ahead += importers.get(module, ())
        return found

    def _imported(self, module: Module) -> Iterator[Module]:
        for dotted in module.imported:
            for name in (dotted, dotted.rpartition(".")[0]):
                found = self.module(name)
                if found is not None and found is not module:
                    yield found

    def constant(self, dotted: str) -> tuple[Module, ast.expr] | None:
        """Return what a name of a module's top level is bound to, and that module, through imports of others too."""
        for _ in range(5):  # imports that go in a circle lead nowhere
            owner, _, name = dotted.rpartition(".")
            module = self.module(owner)
            if module is None:
                return None
            if name in module.constants:
                return module, module.constants[name]
            if name not in module.imports:
                return None
            dotted = module.imports[name]
        return None

    def dotted(self, node: ast.expr | None, module: Module) -> str | None:
        """Return the dotted name that a name or attribute stands for at a module's top level."""
        if isinstance(node, ast.Name):
            if node.id in module.imports:
                return module.imports[node.id]
            return f"{module.name}.{node.id}"
        if isinstance(node, ast.Attribute):
            value = self.dotted(node.value, module)
            return f"{value}.{node.attr}" if value else None
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                return self.dotted(ast.parse(node.value, mode="eval").body, module)
            except SyntaxError:
                return None
        return None

    @cached_property
    def classes(self) -> tuple[Found, ...]:
        """Every class of the project."""
        return tuple(
            Found(module, node, name)
            for module in self.modules
            for name, node in module.defined.items()
            if isinstance(node, ast.ClassDef)
        )

    def classes_of(self, *names: str) -> list[Found]:
        """Return the project's classes that inherit from one of these of Diptych: `classes_of("ReadModel")`."""
        return [cls for cls in self.classes if self.is_a(cls.dotted, *names)]


def _is_ours(dotted: str) -> bool:
    return dotted.partition(".")[0] == _LIBRARY
