"""Puts a change into the functions of this process that are already there, so that nothing is imported again.

Rule: only a forked process may call this. A change stands inside a function, so its code object is all that differs.
"""

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType

from tests.campaigns.mutants.changing import Change


def change_functions(change: Change, root: Path) -> None:
    """Give each function of the changed file its new code."""
    path = str(root / change.path)
    text = Path(path).read_text()
    now, then = (dict(_codes(compile(each, path, "exec"))) for each in (text, change.applied(text)))
    changed = {
        (code.co_qualname, code.co_firstlineno): then[name]
        for name, code in now.items()
        if name in then and then[name] != code
    }
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename == path:
            code = function.__code__
            function.__code__ = changed.get((code.co_qualname, code.co_firstlineno), code)


def _codes(module: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    """Yield every code object by its name and its number among those of this name; lines may differ."""
    seen: Counter[str] = Counter()
    waiting = [module]
    while waiting:
        code = waiting.pop(0)
        yield (code.co_qualname, seen[code.co_qualname]), code
        seen[code.co_qualname] += 1
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
