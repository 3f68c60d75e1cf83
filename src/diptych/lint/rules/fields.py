"""DP401, DP403, DP407, DP409, DP412: what fields of messages may hold, so that a fact stays what it was."""

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

from diptych.lint.findings import Edit, Finding, Fix, Severity
from diptych.lint.module import Module
from diptych.lint.project import Found, Project
from diptych.lint.rule import Rule

_TUPLES: Final = {"list": "tuple[{}, ...]", "List": "tuple[{}, ...]", "set": "frozenset[{}]", "Set": "frozenset[{}]"}
_EMPTY: Final = {"[]": "()", "list()": "()", "set()": "frozenset()", "Field(default_factory=list)": "()"}
_MUTABLE: Final = (
    "list", "dict", "set", "bytearray", "collections.defaultdict", "collections.deque", "collections.OrderedDict",
    "typing.List", "typing.Dict", "typing.Set", "typing.MutableSequence", "typing.MutableMapping", "typing.MutableSet",
)  # fmt: skip
_MONEY: Final = frozenset({"amount", "price", "cost", "fee", "salary", "revenue", "refund", "balance", "subtotal"})
_NO_MONEY: Final = frozenset({
    "rate", "ratio", "percent", "percentage", "weight", "seconds", "minutes", "hours", "days", "factor", "share",
    "score", "count", "kg", "grams", "liters", "litres", "km", "meters", "metres", "index", "temperature",
})  # fmt: skip
_PERSONAL: Final = frozenset({
    "email", "email_address", "e_mail", "phone", "phone_number", "mobile_number", "ssn", "social_security_number",
    "passport_number", "national_id", "iban", "date_of_birth", "birth_date", "birthday", "first_name", "last_name",
    "full_name", "surname",
})  # fmt: skip


class _Field(NamedTuple):
    """A field of a message or read model."""

    owner: Found
    node: ast.AnnAssign
    name: str

    @property
    def full(self) -> str:
        return f"{self.owner.name}.{self.name}"


def _fields(module: Module, project: Project, *kinds: str) -> Iterator[_Field]:
    if not project.uses_library(module):
        return
    for name, node in module.defined.items():
        if not isinstance(node, ast.ClassDef) or not project.is_a(f"{module.name}.{name}", *kinds):
            continue
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                is_private = each.target.id.startswith("_") or each.target.id == "model_config"
                if not is_private and "ClassVar" not in module.source(each.annotation):
                    yield _Field(Found(module, node, name), each, each.target.id)


def _types(node: ast.expr, module: Module, project: Project) -> Iterator[tuple[ast.expr, str]]:
    """Yield the types that an annotation is made of, the outer ones first; not what `Annotated` and `Literal` carry."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return  # in quotes: read too seldom to be worth a second parser
    if isinstance(node, ast.Name | ast.Attribute):
        yield node, _spoken(node, module, project)
    elif isinstance(node, ast.BinOp):
        yield from _types(node.left, module, project)
        yield from _types(node.right, module, project)
    elif isinstance(node, ast.Subscript):
        outer = _spoken(node.value, module, project)
        last = outer.rpartition(".")[2]
        if last == "Literal":
            return
        if last not in ("Annotated", "Optional", "Union"):
            yield node, outer
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for each in inner[:1] if last == "Annotated" else inner:
            yield from _types(each, module, project)


def _spoken(node: ast.expr, module: Module, project: Project) -> str:
    """The dotted name of a type; of one that Python brings along, its name alone."""
    if isinstance(node, ast.Name) and not module.binds(node.id):
        return node.id
    return project.dotted(node, module) or ""


def _is_loose(node: ast.expr, outer: str, module: Module, project: Project) -> bool:
    """Whether a type says nothing: Any, object, a bare dict, or a dict of Any."""
    if outer in ("typing.Any", "object"):
        return True
    if outer not in ("dict", "typing.Dict"):
        return False
    if not isinstance(node, ast.Subscript):
        return True
    value = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
    return isinstance(value, ast.Name | ast.Attribute) and _spoken(value, module, project) in ("typing.Any", "object")


def _are_mutable(module: Module, project: Project) -> Iterator[Finding]:
    for field in _fields(module, project, "DomainEvent"):
        for node, outer in _types(field.node.annotation, module, project):
            if outer in _MUTABLE and not _is_loose(node, outer, module, project):
                yield Finding(
                    "DP401",
                    module.place(node),
                    f"`{field.full}: {module.source(node)}` can change after it happened",
                    f"Write `{_frozen(node, outer, module) or 'tuple[tuple[K, V], ...]'}`, or a frozen model.",
                    field.owner.name,
                    "can be changed",
                    fix=_freeze(field, node, outer, module),
                )
                break


def _frozen(node: ast.expr, outer: str, module: Module) -> str | None:
    pattern = _TUPLES.get(outer.rpartition(".")[2])
    if pattern is None:
        return None
    return pattern.format(module.source(node.slice)) if isinstance(node, ast.Subscript) else pattern.partition("[")[0]


def _freeze(field: _Field, node: ast.expr, outer: str, module: Module) -> Fix | None:
    new, default = _frozen(node, outer, module), field.node.value
    if new is None:
        return None
    edits = [Edit(module.place(node), new)]
    if default is not None:
        text = module.source(default)
        if text == "Field(default_factory=set)":
            text = "set()"
        if text not in _EMPTY:
            return None
        edits.append(Edit(module.place(default), "frozenset()" if "set" in outer.lower() else _EMPTY[text]))
    return Fix("Make it what cannot change", tuple(edits), is_safe=True)


def _are_float(module: Module, project: Project) -> Iterator[Finding]:
    fields = list(_fields(module, project, "DomainEvent", "Command", "ReadModel"))
    priced = {field.owner.name for field in fields if field.name == "currency"}
    for field in fields:
        words = frozenset(field.name.split("_"))
        is_money = bool(words & _MONEY) or ("total" in words and field.owner.name in priced)
        if not is_money or words & _NO_MONEY:
            continue
        for node, outer in _types(field.node.annotation, module, project):
            if outer == "float":
                yield Finding(
                    "DP403",
                    module.place(node),
                    f"`{field.full}` is money in a float; 0.1 + 0.2 is not 0.3",
                    "Use `Decimal`, or whole cents: `cents: int`.",
                    field.owner.name,
                    "rounds",
                    fix=_decimal(field, node, module),
                )


def _decimal(field: _Field, node: ast.expr, module: Module) -> Fix | None:
    edits = [Edit(module.place(node), "Decimal")]
    default = field.node.value
    if isinstance(default, ast.Constant) and isinstance(default.value, float | int):
        edits.append(Edit(module.place(default), f'Decimal("{module.source(default)}")'))
    elif default is not None and not (isinstance(default, ast.Constant) and default.value is None):
        return None
    return Fix("Make it a Decimal", tuple(edits), imports=(("decimal", "Decimal"),))


def _are_personal(module: Module, project: Project) -> Iterator[Finding]:
    hint = "Use an id that says nothing: `new_id()`. A key is in every stream name and row, and cannot be forgotten."
    for field in _fields(module, project, "ReadModel"):
        if field.name in _PERSONAL and any(_is_key(each, module, project) for each in ast.walk(field.node.annotation)):
            message = f"`{field.full}` is personal data, and the key of its rows"
            yield Finding("DP407", module.place(field.node.target), message, hint, field.owner.name, "a key")
    if not project.uses_library(module):
        return
    for node in module.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute) and _names_id(node.func):
            called = project.dotted(node.func, module)
            if called not in ("diptych.id_for", "uuid.uuid5", "uuid.uuid3") or len(node.args) != 2:
                continue
            for part in ast.walk(node.args[1]):
                name = part.attr if isinstance(part, ast.Attribute) else part.id if isinstance(part, ast.Name) else ""
                if name in _PERSONAL:
                    message = f"an id is made of `{name}`, which is personal data; who guesses it finds the stream"
                    yield Finding("DP407", module.place(part), message, hint, module.name_of(node), "part of an id")
                    break


def _names_id(node: ast.Name | ast.Attribute) -> bool:
    return True if isinstance(node, ast.Name) else node.attr in ("id_for", "uuid5", "uuid3")


def _is_key(node: ast.AST, module: Module, project: Project) -> bool:
    target = node.func if isinstance(node, ast.Call) else node
    return isinstance(target, ast.Name | ast.Attribute) and project.dotted(target, module) == "diptych.Key"


def _are_naive(module: Module, project: Project) -> Iterator[Finding]:
    for field in _fields(module, project, "DomainEvent", "Command", "Query"):
        for node, outer in _types(field.node.annotation, module, project):
            if outer == "datetime.datetime":
                yield Finding(
                    "DP409",
                    module.place(node),
                    f"`{field.full}: {module.source(node)}` takes times without a zone; nobody can say when that was",
                    "Write `AwareDatetime` (from pydantic): a time without a zone is refused at the door.",
                    field.owner.name,
                    "in which zone?",
                    fix=Fix(
                        "Take times with a zone only",
                        (Edit(module.place(node), "AwareDatetime"),),
                        imports=(("pydantic", "AwareDatetime"),),
                    ),
                )


def _are_loose(module: Module, project: Project) -> Iterator[Finding]:
    for field in _fields(module, project, "DomainEvent"):
        for node, outer in _types(field.node.annotation, module, project):
            if _is_loose(node, outer, module, project):
                yield Finding(
                    "DP412",
                    module.place(node),
                    f"`{field.full}: {module.source(node)}` has no schema: nothing checks it, and no upcaster knows it",
                    "Give the event fields, or a model of its own for this one.",
                    field.owner.name,
                    "anything goes",
                )
                break


RULES = (
    Rule(
        "DP401",
        "mutable event",
        Severity.ERROR,
        "An event is a fact, and is shared: aggregates keep it, projections read it. One `append` to a list in it, and "
        "a loaded aggregate knows something that never happened, while the log says otherwise.",
        _are_mutable,
        "safe",
    ),
    Rule(
        "DP403",
        "money in a float",
        Severity.ERROR,
        "Sums of floats differ by their order, and a cent is missing at the end of the month. What was stored as a "
        "float can never be made exact again.",
        _are_float,
        "unsafe",
    ),
    Rule(
        "DP407",
        "personal data in a stream id or key",
        Severity.ERROR,
        "Keys and ids are copied: into stream names, rows, links, logs. When a customer asks to be forgotten, or only "
        "changes the address, all of them would have to change. A hash of it can be guessed.",
        _are_personal,
    ),
    Rule(
        "DP409",
        "naive datetime",
        Severity.WARNING,
        "A time without a zone means another moment on each machine. Once stored, nobody can tell which was meant.",
        _are_naive,
        "unsafe",
    ),
    Rule(
        "DP412",
        "payload without a schema",
        Severity.WARNING,
        "An event lives longer than the code that wrote it. What its fields do not say, the reader of next year has to "
        "guess, and a wrong value is found when it is read, not when it is written.",
        _are_loose,
    ),
)
