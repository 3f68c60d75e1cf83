"""One source file, parsed: its text, its tree, what it imports and what it defines.

Rule: nothing is imported or run; a name is only ever looked up.
"""

import ast
from collections.abc import Iterator
from functools import cached_property

from diptych.lint.findings import Place

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Module:
    """One file. `name` is its dotted name as seen from the project's root: `orders.commands`.

    :raises SyntaxError: it is no Python that this interpreter reads.
    """

    def __init__(self, path: str, name: str, text: str) -> None:
        self.path, self.name, self.text = path, name, text
        self.tree = ast.parse(text, path)
        self.is_package = path.endswith("__init__.py")

    @cached_property
    def lines(self) -> list[str]:
        """The text by lines, without their ends."""
        return self.text.split("\n")

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of the tree, walked once for everybody."""
        return tuple(walked(self.tree))

    @cached_property
    def imports(self) -> dict[str, str]:
        """What each imported name stands for, wherever in the file it is imported: `{"dt": "datetime.datetime"}`."""
        found: dict[str, str] = {}
        for node in self._importing:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    found[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                for alias in node.names:
                    found[alias.asname or alias.name] = f"{origin}.{alias.name}" if origin else alias.name
        return found

    @cached_property
    def _importing(self) -> tuple[ast.AST, ...]:
        return tuple(node for node in statements(self.tree) if isinstance(node, ast.Import | ast.ImportFrom))

    @cached_property
    def imported(self) -> frozenset[str]:
        """The dotted names of all that is imported, modules and names in them alike."""
        found = set(self.imports.values())
        for node in self._importing:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.add(self._origin(node))
        return frozenset(found)

    @cached_property
    def defined(self) -> dict[str, Definition]:
        """Functions and classes by qualified name, also inner ones: `Order.create`, `make.<locals>.handler`."""
        return dict(_definitions(self.tree.body, ""))

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        """What names of the module's top level are bound to, where that is said once."""
        found: dict[str, ast.expr] = {}
        twice: set[str] = set()
        for name, value in _assigned(self.tree.body):
            twice.update({name} & found.keys())
            found[name] = value
        return {name: value for name, value in found.items() if name not in twice}

    def binds(self, name: str) -> bool:
        """Whether the module's top level may give a name another meaning than that of Python itself."""
        return name in self._bound or "*" in self.imports

    @cached_property
    def _bound(self) -> frozenset[str]:
        stored = {node.id for node in self.nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        return frozenset(stored | self.imports.keys() | self.defined.keys())

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node around each node."""
        return {child: node for node in self.nodes for child in children(node)}

    @cached_property
    def _names(self) -> dict[ast.AST, str]:
        return {node: name for name, node in self.defined.items()}

    def name_of(self, node: ast.AST) -> str:
        """Return the qualified name of the function or class that a node is, or is in; `<module>` at the top."""
        at: ast.AST | None = node
        while at is not None:
            if at in self._names:
                return self._names[at]
            at = self.parents.get(at)
        return "<module>"

    def place(self, node: ast.AST) -> Place:
        """Return where a node is. Of a function or class: its name, not its body."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            line = node.lineno
            column = self.lines[line - 1].find(node.name, self._character(line, node.col_offset) + 3) + 1
            return Place(self.path, line, column, line, column + len(node.name))
        line, end = int(getattr(node, "lineno", 1)), int(getattr(node, "end_lineno", 1) or 1)
        column = self._character(line, int(getattr(node, "col_offset", 0)))
        end_column = self._character(end, int(getattr(node, "end_col_offset", 0) or 0))
        return Place(self.path, line, column + 1, end, end_column + 1)

    def source(self, node: ast.AST) -> str:
        """Return the text of a node, as written."""
        line, end = getattr(node, "lineno", None), getattr(node, "end_lineno", None)
        if line is None or end is None:
            return ""
        start = self._character(line, getattr(node, "col_offset", 0))
        stop = self._character(end, getattr(node, "end_col_offset", 0))
        lines = self.lines[line - 1 : end]
        lines[-1] = lines[-1][:stop]  # first, as it may be the same line
        lines[0] = lines[0][start:]
        return "\n".join(lines)

    def _character(self, line: int, offset: int) -> int:
        """Characters before an offset that Python counts in bytes."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return offset if text.isascii() else len(text.encode()[:offset].decode(errors="replace"))

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.name.split(".")
        up = node.level - 1 if self.is_package else node.level
        kept = package[: len(package) - up] if up else package
        return ".".join([*kept, *([node.module] if node.module else [])])


def children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes right below one, as `ast.iter_child_nodes` does, in half the time."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            if not isinstance(value, ast.expr_context):
                found.append(value)
        elif isinstance(value, list):
            found += [each for each in value if isinstance(each, ast.AST)]
    return found


def _below(node: ast.AST) -> list[ast.AST]:
    """Return the statements right below one, and its handlers and cases, which are none but hold some."""
    found: list[ast.AST] = []
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += value
    return found


def walked(node: ast.AST) -> list[ast.AST]:
    """Return a node and all below it, those above before those below, as `ast.walk` does."""
    found = [node]
    for each in found:  # it grows as it is walked
        found += children(each)
    return found


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all statements of a tree, without a look at the expressions in them."""
    ahead: list[ast.AST] = [tree]
    while ahead:
        node = ahead.pop()
        yield node
        ahead += reversed(_below(node))


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Yield what names are bound to, also several at once: `app, api = App(url), FastAPI()`."""
    for node in body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for each, value in zip(target.elts, node.value.elts, strict=False):
                    if isinstance(each, ast.Name):
                        yield each.id, value


def _definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield f"{prefix}{node.name}", node
            yield from _definitions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
            yield from _definitions(node.body, f"{prefix}{node.name}.<locals>.")
        else:
            for inner in _below(node):
                if isinstance(inner, ast.stmt):
                    yield from _definitions([inner], prefix)
                elif isinstance(inner, ast.ExceptHandler | ast.match_case):
                    yield from _definitions(inner.body, prefix)
