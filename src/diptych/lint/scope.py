"""What names mean inside one function: parameters by their annotations, variables by what made them.

Rule: the simplest inference that is never wrong on plain code; a name that is bound twice to different things means
nothing.
"""

import ast
from collections.abc import Iterator

from diptych.lint.module import Function, Module
from diptych.lint.project import Found, Project

_WRAPPERS = {"Annotated", "Optional", "Final", "ClassVar"}


class Scope:
    """One function's names. `owner` is the class whose method it is: `self` and `cls` are of it."""

    def __init__(self, function: Function, module: Module, project: Project, owner: str | None = None) -> None:
        self.function, self.module, self.project, self.owner = function, module, project, owner
        self._types: dict[str, str | None] = {}
        taken = function.args
        positional = [*taken.posonlyargs, *taken.args]
        for argument in [*positional, *taken.kwonlyargs]:
            self._types[argument.arg] = annotated(argument.annotation, module, project)
        if owner is not None and positional and not _is_static(function):
            self._types[positional[0].arg] = owner
        for name, value in _bound(function):
            self._bind(name, self.dotted(value))

    def dotted(self, node: ast.expr | None) -> str | None:
        """Return what an expression is or is made by: `httpx.AsyncClient` for an object of it, and `.post` of that."""
        if isinstance(node, ast.Await):
            return self.dotted(node.value)
        if isinstance(node, ast.Name):
            return self._types[node.id] if node.id in self._types else self._outer(node)
        if isinstance(node, ast.Attribute):
            value = self.dotted(node.value)
            return self._attribute(value, node.attr) if value else None
        if isinstance(node, ast.Call):
            return self._returned(self.dotted(node.func))
        return None

    def _bind(self, name: str, type: str | None) -> None:
        if name in self._types and self._types[name] != type:
            type = None
        self._types[name] = type

    def _outer(self, node: ast.Name) -> str | None:
        """A name of the module; a constant stands for what made it."""
        local = self.module.name_of(self.function)
        while "." in local:  # functions that enclose it
            inner = f"{local}.<locals>.{node.id}"
            if inner in self.module.defined:
                return f"{self.module.name}.{inner}"
            local = local.rpartition(".<locals>.")[0]
        made = self.module.constants.get(node.id)
        if node.id not in self.module.defined and isinstance(made, ast.Call):
            return self._returned(self.project.dotted(made.func, self.module))
        return self.project.dotted(node, self.module)

    def _attribute(self, value: str, name: str) -> str | None:
        """What an attribute is: by its annotation in the class, or by what `__init__` puts there; else its path."""
        found = self.project.find(value)
        if found is not None and isinstance(found.node, ast.ClassDef):
            declared = attribute_type(found, name, self.project)
            if declared is not None:
                return declared
        return f"{value}.{name}"

    def _returned(self, called: str | None) -> str | None:
        """What a call gives: an object of a class, or what the function's annotation promises."""
        if called is None:
            return None
        found = self.project.find(called)
        if found is None or isinstance(found.node, ast.ClassDef):
            return called
        return annotated(found.node.returns, found.module, self.project)


def attribute_type(cls: Found, name: str, project: Project) -> str | None:
    """Return the type of a class's attribute, where its body or its `__init__` says it."""
    if not isinstance(cls.node, ast.ClassDef):
        return None
    for node in cls.node.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return annotated(node.annotation, cls.module, project)
    made = cls.module.defined.get(f"{cls.name}.__init__")
    if not isinstance(made, ast.FunctionDef):
        return None
    given = {argument.arg: argument.annotation for argument in [*made.args.args, *made.args.kwonlyargs]}
    for inner in ast.walk(made):
        if not isinstance(inner, ast.Assign | ast.AnnAssign):
            continue
        targets = inner.targets if isinstance(inner, ast.Assign) else [inner.target]
        if any(isinstance(each, ast.Attribute) and each.attr == name for each in targets):
            if isinstance(inner.value, ast.Name) and inner.value.id in given:
                return annotated(given[inner.value.id], cls.module, project)
            if isinstance(inner.value, ast.Call):
                return project.dotted(inner.value.func, cls.module)
    return None


def annotated(node: ast.expr | None, module: Module, project: Project) -> str | None:
    """Return the class that an annotation names: `X` of `X | None` and `Annotated[X, ...]`, `Y` of `Y[X]`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return annotated(ast.parse(node.value, mode="eval").body, module, project)
        except SyntaxError:
            return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = [side for side in (node.left, node.right) if not _is_none(side)]
        return annotated(sides[0], module, project) if len(sides) == 1 else None
    if isinstance(node, ast.Subscript):
        outer = project.dotted(node.value, module)
        if outer is not None and outer.rpartition(".")[2] in _WRAPPERS:
            inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            return annotated(inner, module, project)
        return outer
    return project.dotted(node, module) if isinstance(node, ast.Name | ast.Attribute) else None


def inner_types(node: ast.expr | None, module: Module, project: Project) -> list[str]:
    """Return the classes in the brackets of an annotation: `Order` of `Repository[Order]`."""
    if not isinstance(node, ast.Subscript):
        return []
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return [name for each in inner if (name := annotated(each, module, project)) is not None]


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_static(function: Function) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)


def _bound(function: Function) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a function binds to one expression."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value
        elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            yield node.optional_vars.id, node.context_expr
