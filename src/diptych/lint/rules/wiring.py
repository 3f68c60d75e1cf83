"""DP601, DP602, DP603, DP604, DP605: everything has somebody who handles it, once, and is imported."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from diptych.lint.facts import Facts, Where
from diptych.lint.findings import Finding, Note, Place, Severity
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.roles import BUS, Role, decorators, roles
from diptych.lint.rule import ProjectRule, RegistryRule

_TWICE: Final = "is already handled by"


def _without_handler(facts: Facts, project: Project) -> Iterator[Finding]:
    handled = {each.message.rpartition(".")[2] for each in facts.handled}
    parents = {base for cls in project.classes for base in project.bases(cls)}
    for cls in project.classes_of("Command", "Query"):
        name = cls.name.rpartition(".")[2]
        if not _is_loaded(cls.module, facts) or name in handled or cls.dotted in parents or "<locals>" in cls.name:
            continue
        kind = "query" if project.is_a(cls.dotted, "Query") else "command"
        near = get_close_matches(name, handled, 1, 0.85)
        hint = f"`{near[0]}` is handled: did you mean that? Else write" if near else "Write"
        taken = f"async def handle_it({kind}: {name}, ...)"
        text = f"{hint} `@app.{kind}_handler` above `{taken}`, or delete it."
        yield Finding(
            "DP601", cls.module.place(cls.node), f"{kind} `{name}` is never handled", text, cls.name, "nobody takes it"
        )


def _twice(project: Project) -> Iterator[Finding]:
    """Only of handlers that one object registers, both always: two apps may each have theirs."""
    first: dict[tuple[str, str], Role] = {}
    for role, on in registered(project):
        if role.message is None:
            continue
        known = first.setdefault((on, role.message), role)
        if known is not role:
            message = f"`{role.message.rpartition('.')[2]}` has two handlers: `{known.name}` and `{role.name}`"
            hint = "Delete one, or split the message in two. Events may have many handlers; these have one."
            there = Note(known.module.place(known.function), "the other one")
            place = role.module.place(role.function)
            yield Finding("DP602", place, message, hint, role.name, "again", (there,))


def _unused(facts: Facts, project: Project) -> Iterator[Finding]:
    for event in facts.events:
        place = place_of(event.where, project)
        if place is not None and event.event not in facts.consumed and not (event.is_inert or event.is_base):
            message = f"event `{event.event}` is taken by no aggregate and no projection"
            hint = "Give it an @on method; or, if it is only history, say so: `class ...(DomainEvent, inert=True)`."
            yield Finding("DP603", place, message, hint, event.where.name, "nobody looks")


def _not_imported(facts: Facts, project: Project) -> Iterator[Finding]:
    by_file: defaultdict[str, list[Role]] = defaultdict(list)
    for role, on in registered(project):
        if _is_loaded(role.module, facts) or _is_test(role.module.path):
            continue
        if _would_be_of(on, role.module, facts, project):
            by_file[role.module.path].append(role)
    for path, found in by_file.items():
        count = f"{len(found)} handlers" if len(found) > 1 else "a handler"
        message = f"`{path}` has {count} and is never imported by the app"
        hint = "Import it where the app is put together, or include its Module."
        place = found[0].module.place(found[0].function)
        yield Finding("DP604", place, message, hint, found[0].name, "never registered")


def registered(project: Project) -> Iterator[tuple[Role, str]]:
    """Yield the handlers at the top of files that are decorated, with the object that it is by: `shop.main.app`."""
    for module in project.modules:
        for role in roles(module, project):
            if role.part not in BUS or role.function not in module.tree.body:
                continue
            for name, node in decorators(role.function):
                if name in ("command_handler", "query_handler") and isinstance(node, ast.Attribute):
                    on = _made(project.dotted(node.value, module), project)
                    if on is not None:
                        yield role, on


def _made(dotted: str | None, project: Project, depth: int = 5) -> str | None:
    """Follow a name to the file that makes what it stands for, by a call at its top."""
    outer, _, name = (dotted or "").rpartition(".")
    module = project.module(outer)
    if module is None or not depth:
        return None
    if isinstance(module.constants.get(name), ast.Call):
        return f"{module.name}.{name}"
    through = module.imports.get(name)
    return _made(through, project, depth - 1) if through != dotted else None


def _would_be_of(on: str, mine: Module, facts: Facts, project: Project) -> bool:
    """Whether a handler would be registered with an object of the app, or with a Module that nobody can include.

    A file that another one imports, or that is a program, belongs to something else than this app.
    """
    outer, _, name = on.rpartition(".")
    module = project.module(outer)
    if module is None or "__main__" in mine.text or _imports(project, mine):
        return False
    made = module.constants[name]
    kind = project.dotted(made.func, module) if isinstance(made, ast.Call) else None
    return _is_loaded(module, facts) or (module is mine and kind == "diptych.Module")


def _imports(project: Project, wanted: Module) -> bool:
    tail = wanted.name.rpartition(".")[2]
    names = {name for module in project.modules if module is not wanted for name in module.imported if tail in name}
    return any(project.module(each) is wanted for name in names for each in (name, name.rpartition(".")[0]))


def _is_loaded(module: Module, facts: Facts) -> bool:
    return any(file == module.path or file.endswith(f"/{module.path}") for file in facts.files)


def _problems(facts: Facts, project: Project) -> Iterator[Finding]:
    """What a start would refuse, told before the start; that one object has two handlers is DP602."""
    told = {(one.place.path, one.name) for one in _twice(project)}
    for problem in facts.problems:
        at, _, said = problem.partition(": ")
        path, _, rest = at.rpartition(":")
        line, _, name = rest.partition(" ")
        if not line.isdigit():
            continue
        place = place_of(Where(path, int(line), name), project)
        if place is not None and not (_TWICE in said and (place.path, name) in told):
            what, _, instead = said.partition(". " if _TWICE in said else "; ")
            hint = f"{instead[:1].upper()}{instead[1:]}" if instead else "See what the annotations promise."
            yield Finding("DP605", place, f"`{name}`: {what}", hint, name, "would not start")


def _is_test(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("test_") or name == "conftest.py" or "/tests/" in f"/{path}"


def place_of(where: Where, project: Project) -> Place | None:
    """A place of the project's files; nothing of others."""
    for module in project.modules:
        if where.path == module.path or where.path.endswith(f"/{module.path}"):
            name = where.name.replace(".<locals>", "")
            node = module.defined.get(where.name) or module.defined.get(name)
            return module.place(node) if node is not None else Place(module.path, where.line, 1, where.line, 2)
    return None


RULES = (
    RegistryRule(
        "DP601",
        "command or query without handler",
        Severity.ERROR,
        "Dispatched, it is an error at run time, in front of the customer. Often a handler is there and takes another "
        "class.",
        _without_handler,
    ),
    ProjectRule(
        "DP602",
        "handler registered twice",
        Severity.ERROR,
        "A command is handled once. Which of two handlers would run depends on which module is imported first, so the "
        "app does not start.",
        _twice,
    ),
    RegistryRule(
        "DP603",
        "event that nobody consumes",
        Severity.INFO,
        "It is stored and changes nothing that anybody sees. That is right for what is only history, and often a "
        "handler that was forgotten.",
        _unused,
        is_default=False,
    ),
    RegistryRule(
        "DP604",
        "module with handlers that is never imported",
        Severity.WARNING,
        "A decorator registers when its module is imported. One that nobody imports is code that looks alive: its "
        "commands have no handler and its projections no rows.",
        _not_imported,
        is_default=False,
    ),
    RegistryRule(
        "DP605",
        "handler that could not be wired",
        Severity.ERROR,
        "The annotations of a handler say what it takes and gives. What cannot be provided or called is refused when "
        "the app starts; here it is told before.",
        _problems,
    ),
)
