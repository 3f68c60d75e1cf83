"""A hash of what a projection's methods do: a hint that its rows may not be what today's code would make of them.

Rule: the same for the same code wherever its file and its lines are; what the methods call elsewhere is not looked at.
"""

import sys
from collections.abc import Iterator
from hashlib import blake2b
from types import CodeType, FunctionType
from typing import Any

from diptych.projections.projection import Projection


def hash_of(projection: type[Projection[Any]]) -> str:
    """Return the hash, after the version of Python whose bytecode it is of."""
    digest = blake2b(digest_size=12)
    for name, function in sorted(_functions(projection)):
        digest.update(f"{name}\0".encode())
        for part in _parts(function.__code__, function.__doc__):
            digest.update(part)
    return f"{sys.version_info.major}.{sys.version_info.minor}:{digest.hexdigest()}"


def _functions(projection: type) -> Iterator[tuple[str, FunctionType]]:
    names = set[str]()
    for cls in projection.__mro__:
        for name, value in vars(cls).items() if cls.__module__ != Projection.__module__ else ():
            inner = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if isinstance(inner, FunctionType) and name not in names:
                names.add(name)
                yield name, inner


def _parts(code: CodeType, doc: str | None) -> Iterator[bytes]:
    """Yield what makes a function what it is; not its docstring, its file or its lines."""
    yield code.co_code
    for names in (code.co_names, code.co_varnames, code.co_freevars):
        yield "\0".join(names).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = constant.co_consts[0] if constant.co_consts else None
            yield from _parts(constant, inner if isinstance(inner, str) else None)
        elif doc is None or constant != doc:
            yield _shown(constant).encode()
        else:
            yield _shown(None).encode()


def _shown(constant: object) -> str:
    if isinstance(constant, frozenset):
        return f"{{{', '.join(sorted(map(_shown, constant)))}}}"
    if isinstance(constant, tuple):
        return f"({', '.join(map(_shown, constant))})"
    return f"{type(constant).__name__} {constant!r}"
