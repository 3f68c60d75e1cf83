"""The rules as a plugin of flake8, one file at a time.

Rule: what needs other files is not found here; `diptych check` finds it.
"""

import ast
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from diptych.lint.comments import applied
from diptych.lint.module import Module
from diptych.lint.project import Project
from diptych.lint.rules.table import RULES
from diptych.lint.running import dotted_name, run


class Flake8Plugin:
    """What flake8 calls for each file."""

    name = "diptych"
    version = version("diptych")

    def __init__(self, tree: ast.AST, filename: str = "stdin", lines: list[str] | None = None) -> None:
        text = "".join(lines) if lines is not None else Path(filename).read_text("utf-8")
        self._module = Module(filename, dotted_name(filename), text)

    def run(self) -> Iterator[tuple[int, int, str, type[Any]]]:
        """Yield what is found: line, column from 0, text, and this class."""
        found = run(Project([self._module]), [rule for rule in RULES if rule.is_default])
        for one in applied(self._module, found, None):  # other files may need a comment that this one does not
            yield one.place.line, one.place.column - 1, f"{one.rule} {one.message}", type(self)
