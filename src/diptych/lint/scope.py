"""What names mean inside one function: parameters by their annotations, variables by what made them.

Rule: the simplest inference that is never wrong on plain code; a name that is bound twice to different things means
nothing.
"""

import ast
import builtins
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from diptych.lint.module import Definition, Function, Module, walked
from diptych.lint.project import Found, Project

_WRAPPERS = {"Annotated", "Optional", "Final", "ClassVar"}
_OURS: Final = {"diptych.web.Commands": "diptych.CommandBus", "diptych.web.Queries": "diptych.QueryBus"}
_LOADING: Final = ("get", "get_or_none", "get_or_new")
_BUILTINS: Final = frozenset(vars(builtins))
_DEEP: Final = 5  # aliases of aliases


class Scope:
    """One function's names. `owner` is the class whose method it is: `self` and `cls` are of it."""

    def __init__(self, function: Function, module: Module, project: Project, owner: str | None = None) -> None:
        self.function, self.module, self.project, self.owner = function, module, project, owner
        self._types: dict[str, str | None] = {}
        self._annotations: dict[str, ast.expr | None] = {}
        taken = function.args
        positional = [*taken.posonlyargs, *taken.args]
        for argument in [*positional, *taken.kwonlyargs]:
            self._annotations[argument.arg] = argument.annotation
            self._types[argument.arg] = annotated(argument.annotation, module, project)
        for rest in (taken.vararg, taken.kwarg):
            if rest is not None:
                self._types[rest.arg] = None
        if owner is not None and positional and not is_static(function):
            self._types[positional[0].arg] = owner
        self._bind_all()

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """The function's node and all below it."""
        return walked(self.function)

    @cached_property
    def _enclosing(self) -> "Scope | None":
        """The scope of the function around this one."""
        at = self.module.parents.get(self.function)
        while at is not None and not isinstance(at, ast.FunctionDef | ast.AsyncFunctionDef):
            at = self.module.parents.get(at)
        return None if at is None else scope_for(at, self.module, self.project)

    def type_of(self, name: str) -> str | None:
        """Return the class of a parameter or variable."""
        return self._types.get(name)

    def binds(self, name: str) -> bool:
        """Whether a name is a parameter or a variable of the function."""
        return name in self._types

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
            return self._loaded(node) or self._returned(self.dotted(node.func))
        return None

    def _loaded(self, node: ast.Call) -> str | None:
        """The aggregate that a call of a repository gives: `Order` of `await orders.get(id)`."""
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in _LOADING:
            return None
        annotation = self._annotation(node.func.value)
        if not self.project.is_a(annotated(annotation, self.module, self.project), "Repository"):
            return None
        inner = inner_types(annotation, self.module, self.project)
        return inner[0] if len(inner) == 1 else None

    def _annotation(self, node: ast.expr) -> ast.expr | None:
        """How a name, or an attribute of `self`, was declared."""
        if isinstance(node, ast.Name):
            return self._annotations.get(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and self.owner is not None:
            cls = self.project.find(self.owner) if self._types.get(node.value.id) == self.owner else None
            if cls is not None and cls.module is self.module:
                return attribute_annotation(cls, node.attr)
        return None

    def _bind_all(self) -> None:
        """Bind what is bound to one expression; what is bound in any other way is known to be unknown."""
        simple: Counter[str] = Counter()
        stored: Counter[str] = Counter()
        for node in self.nodes:
            for name, value in _bound(node):
                simple[name] += 1
                self._bind(name, self.dotted(value))
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                stored[node.id] += 1
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and node is not self.function:
                for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
                    self._bind(argument.arg, annotated(argument.annotation, self.module, self.project))
            elif isinstance(node, ast.ExceptHandler) and node.name:
                self._types[node.name] = None
        for name, count in stored.items():
            if count != simple[name]:
                self._types[name] = None

    def _bind(self, name: str, type: str | None) -> None:
        if name in self._types and self._types[name] != type:
            type = None
        self._types[name] = type

    def _outer(self, node: ast.Name) -> str | None:
        """A name of the module; a constant stands for what made it."""
        local = self.module.name_of(self.function)
        around: Scope | None = self
        while around is not None:
            inner = f"{local}.<locals>.{node.id}"
            if inner in self.module.defined:
                return f"{self.module.name}.{inner}"
            around = around._enclosing
            if around is not None and node.id in around._types:
                return around._types[node.id]
            local = local.rpartition(".<locals>.")[0]
        made = self.module.constants.get(node.id)
        if node.id not in self.module.defined and isinstance(made, ast.Call):
            return self._returned(self.project.dotted(made.func, self.module))
        if isinstance(made, ast.Attribute) and isinstance(made.value, ast.Name):
            of = self._outer(made.value) if isinstance(self.module.constants.get(made.value.id), ast.Call) else None
            return self._attribute(of, made.attr) if of else self.project.dotted(made, self.module)
        if node.id in _BUILTINS and not self.module.binds(node.id):
            return f"builtins.{node.id}"
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
        if called.startswith("diptych.") and called.endswith(".as_user"):
            return called.removesuffix(".as_user")
        found = self.project.find(called)
        if found is None or isinstance(found.node, ast.ClassDef):
            return called
        return annotated(found.node.returns, found.module, self.project)


def scope_for(function: Function, module: Module, project: Project) -> Scope:
    """Return what names mean in a function, worked out once."""
    known = project.memory.get(("scope", function))
    if known is None:
        outer = module.name_of(function).rpartition(".")[0]
        owner = f"{module.name}.{outer}" if isinstance(module.defined.get(outer), ast.ClassDef) else None
        known = project.memory["scope", function] = Scope(function, module, project, owner)
    assert isinstance(known, Scope)
    return known


def scope_of_module(module: Module, project: Project) -> Scope:
    """Return what names mean at a module's top level, as if it were a function."""
    known = project.memory.get(("scope", module))
    if known is None:
        body = [node for node in module.tree.body if not isinstance(node, Definition)]
        empty = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        top = ast.FunctionDef("<module>", empty, body, [], lineno=1, col_offset=0)
        known = project.memory["scope", module] = Scope(top, module, project)
    assert isinstance(known, Scope)
    return known


def attribute_annotation(cls: Found, name: str) -> ast.expr | None:
    """Return how an attribute of a class is declared: in its body, or as the parameter of `__init__` it is set to."""
    for node in cls.node.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return node.annotation
    made = cls.module.defined.get(f"{cls.name}.__init__")
    if not isinstance(made, ast.FunctionDef):
        return None
    given = {argument.arg: argument.annotation for argument in [*made.args.args, *made.args.kwonlyargs]}
    for target, value in _set_in(made):
        if target == name and isinstance(value, ast.Name) and value.id in given:
            return given[value.id]
    return None


def attribute_type(cls: Found, name: str, project: Project) -> str | None:
    """Return the type of a class's attribute, where its body or its `__init__` says it."""
    declared = attribute_annotation(cls, name)
    if declared is not None:
        return annotated(declared, cls.module, project)
    made = cls.module.defined.get(f"{cls.name}.__init__")
    if isinstance(made, ast.FunctionDef):
        for target, value in _set_in(made):
            if target == name and isinstance(value, ast.Call):
                return project.dotted(value.func, cls.module)
    return None


def _set_in(made: ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None]]:
    for inner in ast.walk(made):
        if isinstance(inner, ast.Assign | ast.AnnAssign):
            for target in inner.targets if isinstance(inner, ast.Assign) else [inner.target]:
                if isinstance(target, ast.Attribute):
                    yield target.attr, inner.value


def annotated(node: ast.expr | None, module: Module, project: Project, deep: int = _DEEP) -> str | None:
    """Return the class that an annotation names: `X` of `X | None` and `Annotated[X, ...]`, `Y` of `Y[X]`.

    Also through a name for it: `Commands = Annotated[CommandBus, Depends(...)]`.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return annotated(ast.parse(node.value, mode="eval").body, module, project, deep)
        except SyntaxError:
            return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = [side for side in (node.left, node.right) if not _is_none(side)]
        return annotated(sides[0], module, project, deep) if len(sides) == 1 else None
    if isinstance(node, ast.Subscript):
        outer = project.dotted(node.value, module)
        if outer is not None and outer.rpartition(".")[2] in _WRAPPERS:
            inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            return annotated(inner, module, project, deep)
        return outer
    return _named(project.dotted(node, module), project, deep) if isinstance(node, ast.Name | ast.Attribute) else None


def _named(dotted: str | None, project: Project, deep: int) -> str | None:
    """The class that a name stands for, if it is a name for `Annotated[...]`."""
    if dotted is None or dotted in _OURS:
        return None if dotted is None else _OURS[dotted]
    alias = project.constant(dotted) if deep else None
    if alias is not None:
        module, value = alias
        if isinstance(value, ast.Subscript):
            outer = project.dotted(value.value, module)
            if outer is not None and outer.rpartition(".")[2] in _WRAPPERS:
                return annotated(value, module, project, deep - 1)
    return dotted


def inner_types(node: ast.expr | None, module: Module, project: Project) -> list[str]:
    """Return the classes in the brackets of an annotation: `Order` of `Repository[Order]`."""
    if not isinstance(node, ast.Subscript):
        return []
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return [name for each in inner if (name := annotated(each, module, project)) is not None]


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def is_static(function: Function) -> bool:
    """Whether it is a method that knows no `self`."""
    return any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)


def _bound(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the name that a node binds to one expression."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        yield node.targets[0].id, node.value
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name) and node.value:
        yield node.target.id, node.value
    elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
        yield node.optional_vars.id, node.context_expr
