"""DP601 to DP604, DP607: what is declared and what is registered fit each other, each once."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import NamedTuple

from diptych.lint.facts import Facts, MessageFact, Spot
from diptych.lint.findings import Finding, Note, Severity
from diptych.lint.module import Module
from diptych.lint.project import Found, Project
from diptych.lint.roles import Part, Role, decorators, roles
from diptych.lint.rule import RegistryRule

_BUSES = {Part.COMMAND: "Command", Part.QUERY: "Query"}


class Registered(NamedTuple):
    """A handler with a decorator at the top of a file, and the object that it is registered with."""

    role: Role
    on: str  # dotted: `shop.main.app`


def registered(project: Project) -> Iterator[Registered]:
    """Yield the decorated handlers of which it is sure with what they are registered."""
    for module in project.modules:
        for role in roles(module, project):
            if role.part not in _BUSES or role.function not in module.tree.body:
                continue
            for name, node in decorators(role.function):
                if name in ("command_handler", "query_handler") and isinstance(node, ast.Attribute):
                    on = project.dotted(node.value, module)
                    if on is not None and _made_by(on, project) is not None:
                        yield Registered(role, on)


def is_test(path: str) -> bool:
    """Whether a file belongs to tests, which make apps and messages of their own."""
    *folders, name = PurePosixPath(path).parts
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py" or "tests" in folders


def _unhandled(facts: Facts, project: Project) -> Iterator[Finding]:
    if facts.problems:
        return  # a handler that cannot be read may be the one
    for message in facts.messages:
        found = _at(message.spot, project)
        if found is None or message.handlers or message.is_base or is_test(message.spot.path):
            continue
        hint, notes = _missing(message, facts, project)
        yield _finding("DP601", found, f"{message.kind} `{_last(found)}` is never handled", hint, notes)


def _missing(message: MessageFact, facts: Facts, project: Project) -> tuple[str, tuple[Note, ...]]:
    if message.elsewhere:
        handler = message.elsewhere[0]
        return (
            f"`{handler.name}` handles it, but the module it is registered with is not included: "
            f"`{facts.at.name}.include(...)`.",
            _note(handler, project, "this handler is not part of the app"),
        )
    handled = {each.spot.name: each for each in facts.messages if each.handlers and each.kind == message.kind}
    near = get_close_matches(message.spot.name, handled, 1, 0.8)
    kind, name = message.kind, message.spot.name
    write = f"Write `@{facts.at.name}.{kind}_handler` over `async def ...({kind}: {name})`, or delete the class."
    if not near:
        return write, ()
    other = handled[near[0]].spot
    return f"{write} Did you mean `{near[0]}`, which is handled?", _note(
        other, project, f"`{near[0]}` is declared here"
    )


def _unhandled_in_source(project: Project) -> Iterator[Finding]:
    """Only where every registration is a decorator whose message is known."""
    handled = set[str]()
    found = False
    for module in project.modules:
        if is_test(module.path):
            continue
        for role in roles(module, project):
            if role.part in _BUSES:
                if role.message is None:
                    return
                found = True
                handled.add(role.message)
        if _registers_otherwise(module):
            return
    if not found:
        return
    for cls in project.classes_of("Command", "Query"):
        is_message = cls.node in cls.module.tree.body and not is_test(cls.module.path)
        if is_message and cls.dotted not in handled and not _has_children(cls, project):
            kind = "command" if project.is_a(cls.dotted, "Command") else "query"
            hint = f"Write `@app.{kind}_handler` over `async def ...({kind}: {cls.name})`, or delete the class."
            yield _finding("DP601", cls, f"{kind} `{cls.name}` is never handled", hint)


def _registers_otherwise(module: Module) -> bool:
    """Whether a file calls `command_handler(...)` or `commands.register(...)`, where the message is not seen."""
    called = [node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    names = {function.attr for function in called if isinstance(function, ast.Attribute)}
    return not names.isdisjoint(("command_handler", "query_handler", "register"))


def _has_children(cls: Found, project: Project) -> bool:
    return any(cls.dotted in project.bases(each) for each in project.classes)


def _twice(facts: Facts, project: Project) -> Iterator[Finding]:
    for message in facts.messages:
        for second in message.handlers[1:]:
            found = _at(second, project)
            if found is not None:
                yield _second(found, _note(message.handlers[0], project, "the first one is here"), message.spot.name)


def _twice_in_source(project: Project) -> Iterator[Finding]:
    """Only handlers that one object at the top of a file registers, both always."""
    known: dict[tuple[str, str], Role] = {}
    for role, on in registered(project):
        if role.message is None:
            continue
        first = known.setdefault((on, role.message), role)
        if first is not role:
            note = Note(first.module.place(first.function), "the first one is here")
            found = Found(role.module, role.function, role.name)
            yield _second(found, (note,), role.message.rpartition(".")[2])


def _second(found: Found, notes: tuple[Note, ...], message: str) -> Finding:
    return _finding(
        "DP602",
        found,
        f"`{_last(found)}` is a second handler of `{message}`",
        "Delete one of the two, or give each a message of its own. Of an event, many may be told.",
        notes,
    )


def _unread(facts: Facts, project: Project) -> Iterator[Finding]:
    if facts.problems:
        return
    taken = {name for projection in facts.projections for name in projection.takes}
    applied = {name for aggregate in facts.aggregates for name in aggregate.events}
    for event in facts.events:
        found = _at(event.spot, project)
        if found is None or event.is_base or event.is_inert:
            continue
        if event.stored_name not in taken and event.spot.dotted not in applied:
            yield _finding(
                "DP603",
                found,
                f"nobody consumes `{_last(found)}`: no aggregate applies it and no projection takes it",
                f"If it is kept as history only, say so: `class {_last(found)}(DomainEvent, inert=True)`.",
            )


def _never_imported(facts: Facts, project: Project) -> Iterator[Finding]:
    imported = set(facts.files)
    by_module: defaultdict[str, list[Registered]] = defaultdict(list)
    for one in registered(project):
        if one.role.module.path not in imported and not is_test(one.role.module.path):
            by_module[one.role.module.path].append(one)
    for many in by_module.values():
        mine = [one for one in many if _is_of_app(one, imported, project)]
        if mine:
            first = mine[0].role
            handlers = "a handler" if len(mine) == 1 else f"{len(mine)} handlers"
            yield _finding(
                "DP604",
                Found(first.module, first.function, first.name),
                f"`{first.module.path}` has {handlers}, and nothing imports it",
                f"Import `{first.module.name}` in `{facts.at.path}` or in what that imports, or delete the file.",
            )


def _is_of_app(one: Registered, imported: set[str], project: Project) -> bool:
    """Whether it would be registered with an object of the app, or with a Module that nobody can include.

    A file that another one imports, or that is a program, belongs to something else than this app.
    """
    mine = one.role.module
    module, kind = _made_by(one.on, project) or (None, "")
    if module is None or "__main__" in mine.text or _is_imported(mine, project):
        return False
    return module.path in imported or (kind == "diptych.Module" and module is mine)


def _is_imported(wanted: Module, project: Project) -> bool:
    tail = wanted.name.rpartition(".")[2]
    names = {name for module in project.modules if module is not wanted for name in module.imported if tail in name}
    return any(project.module(each) is wanted for name in names for each in (name, name.rpartition(".")[0]))


def _made_by(dotted: str, project: Project, depth: int = 5) -> tuple[Module, str] | None:
    """Return the file in which an App or Module is made that a dotted name stands for, and its class."""
    outer, _, name = dotted.rpartition(".")
    module = project.module(outer)
    if module is None or not depth:
        return None
    made = module.constants.get(name)
    if isinstance(made, ast.Call):
        return module, project.dotted(made.func, module) or ""
    if name in module.imports and module.imports[name] != dotted:
        return _made_by(module.imports[name], project, depth - 1)
    return None


def _left_out(facts: Facts, project: Project) -> Iterator[Finding]:
    if facts.problems:
        return
    for projection in facts.projections:
        found = _at(projection.spot, project)
        if found is not None and not projection.is_included and not is_test(projection.spot.path):
            yield _finding(
                "DP607",
                found,
                f"projection `{_last(found)}` is in no app; its tables are not there",
                f"Write `{facts.at.name}.project({_last(found)})`, or delete it.",
            )


def _at(spot: Spot, project: Project) -> Found | None:
    return project.written(spot.path, spot.name)


def _last(found: Found) -> str:
    return found.name.rpartition(".")[2]


def _note(spot: Spot, project: Project, text: str) -> tuple[Note, ...]:
    found = _at(spot, project)
    return (Note(found.module.place(found.node), text),) if found is not None else ()


def _finding(rule: str, found: Found, message: str, hint: str, notes: Iterable[Note] = ()) -> Finding:
    return Finding(rule, found.module.place(found.node), message, hint, found.name, notes=tuple(notes))


RULES = (
    RegistryRule(
        "DP601",
        "command without handler",
        Severity.ERROR,
        "A command or query that nobody handles is refused when it is dispatched, perhaps by the first customer who "
        "tries it. Where a route names it, the service does not start.",
        _unhandled,
        _unhandled_in_source,
    ),
    RegistryRule(
        "DP602",
        "handler registered twice",
        Severity.ERROR,
        "A command or query has one handler: it says what happens, and gives one answer. With two of them nobody "
        "could say which one ran, so the app does not start.",
        _twice,
        _twice_in_source,
    ),
    RegistryRule(
        "DP603",
        "event nobody consumes",
        Severity.INFO,
        "The event is stored, and nothing depends on it: no aggregate changes by it, and no row shows it. That is "
        "right for what is kept as history; it is a mistake where a projection was forgotten.",
        _unread,
        is_default=False,
    ),
    RegistryRule(
        "DP604",
        "module with handlers never imported",
        Severity.WARNING,
        "A handler is registered when its file is imported. Where nothing on the way from the app imports it, the "
        "handler is not there, however right its code is.",
        _never_imported,
        is_default=False,
    ),
    RegistryRule(
        "DP607",
        "projection that is in no app",
        Severity.ERROR,
        "A projection works for an app once that is told of it. One that no app was told of folds nothing, and the "
        "tables of its read models are not made; the first query that reads them fails.",
        _left_out,
    ),
)
