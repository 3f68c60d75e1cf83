"""What a file imports and defines, wherever in it that stands."""

import ast
from pathlib import Path

import pytest

from diptych.lint.module import Module

NESTED = """\
import one
class A:
    import two
    def f(self):
        async def g():
            async for x in y:
                import three
            else:
                import four
            async with z:
                from . import five
match one:
    case 1:
        import six
    case _:
        while True:
            import seven
try:
    import eight
except* ValueError:
    import nine
else:
    import ten
finally:
    if one:
        pass
    elif two:
        import eleven
    else:
        def late(): ...
"""


def test_imports_are_found_at_any_depth() -> None:
    names = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
    assert sorted(Module("shop/a.py", "shop.a", NESTED).imports) == sorted(names)


def test_what_is_defined_in_a_branch_is_defined() -> None:
    assert set(Module("a.py", "a", NESTED).defined) == {"A", "A.f", "A.f.<locals>.g", "late"}


@pytest.mark.parametrize("file", sorted(Path(ast.__file__).parent.glob("asyncio/*.py")), ids=lambda file: file.name)
def test_no_import_is_overlooked(file: Path) -> None:
    module = Module(file.name, file.stem, file.read_text("utf-8"))
    every = {alias.name for node in ast.walk(module.tree) if isinstance(node, ast.Import) for alias in node.names}
    assert every <= module.imported
    taken = {
        alias.asname or alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert taken <= set(module.imports)
