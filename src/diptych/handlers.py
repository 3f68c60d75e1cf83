"""From annotations to handlers: the one piece of introspection, used by all.

Rule: nothing here knows what a command, an event or a read model is; callers say which classes they look for.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import FrameType, FunctionType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from diptych.errors import ProgrammingError, TwoHandlersError

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__diptych_on__"


class On(NamedTuple):
    """How a method marked with `@on` finds its row: by `key`, or every row where `each` matches; else by stream id.

    A saga finds itself by `key`, too, and begins where it `starts`.
    """

    key: Any = None
    each: str | None = None
    names: Mapping[str, Any] | None = None  # the local names where the class was written, for its annotations
    starts: bool = False


@overload
def on(method: F, /) -> F: ...
@overload
def on(
    *, key: str | tuple[str, ...] | Callable[..., Any] | None = None, each: str | None = None, starts: bool = False
) -> Callable[[F], F]: ...
def on(method: Any = None, /, *, key: Any = None, each: str | None = None, starts: bool = False) -> Any:
    """Mark the method that takes an event, its class read from the parameter's annotation.

    On an aggregate it changes state. On a projection it returns the row as it shall be; `key` finds the row by a
    field of the event, a tuple of fields or a function of (event, meta); `each` names a column, and the method is
    called for every row in which it equals the event's field of that name, or else the stream's id.

    On a saga it takes an event, a timeout or a rejection; `key` says which field of the event names the saga, and
    `starts` that the event begins one.
    """
    frame = inspect.currentframe()
    names = _enclosing(frame.f_back if frame else None)

    def mark(function: F) -> F:
        setattr(function, _MARK, On(key, each, names, starts))
        return function

    return mark if method is None else mark(method)


def marked(cls: type) -> dict[str, tuple[Callable[..., Any], On]]:
    """Return all methods of a class marked with `@on`, by name, an override in place of what it overrides."""
    found: dict[str, tuple[Callable[..., Any], On]] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            mark = getattr(member, _MARK, None) or getattr(getattr(member, "__wrapped__", None), _MARK, None)
            if mark is not None:
                found[name] = (member, mark)
            else:
                found.pop(name, None)
    return found


def _enclosing(frame: FrameType | None) -> Mapping[str, Any]:
    """Collect the local names of the functions around a class body, innermost last; module names need no help."""
    names: dict[str, Any] = {}
    chain = []
    while frame is not None and frame.f_code.co_name != "<module>":
        chain.append(frame)
        frame = frame.f_back
        if len(chain) == 4:
            break
    for outer in reversed(chain):
        names.update(outer.f_locals)
    return names


def local_names(depth: int = 1) -> Mapping[str, Any]:
    """Return the names visible where the caller's caller was called: for annotations that name local classes."""
    return _enclosing(sys._getframe(depth + 1))


class Parameter(NamedTuple):
    """One parameter of a handler, its annotation resolved (`Annotated` kept)."""

    name: str
    annotation: Any
    has_default: bool


class Signature(NamedTuple):
    """What a handler's annotations say."""

    parameters: tuple[Parameter, ...]
    returns: Any
    where: str  # file:line name, for messages

    @property
    def message(self) -> Parameter | None:
        """The first parameter: what it handles."""
        return self.parameters[0] if self.parameters else None

    @property
    def returning(self) -> str:
        """What it says that it returns, for messages."""
        if self.returns is inspect.Signature.empty:
            return "it does not say what it returns"
        return f"it returns {self.returns}"


def where(function: Any) -> str:
    """Say where something was written: `file:line name`; the name alone where nobody knows."""
    path, line, name = written_at(function)
    return f"{path}:{line} {name}" if line else name


def at(function: Any, fault: object) -> str:
    """Say where something is wrong and what, naming the place once: `signature` names it, annotations do not."""
    place = where(function)
    return f"{place}: {str(fault).removeprefix(f'{place}: ')}"


def written_at(function: Any) -> tuple[str, int, str]:
    """Return the file, the line and the qualified name of a function or class; line 0 where nobody knows."""
    target = inspect.unwrap(function)
    target = getattr(target, "__func__", target)
    name = getattr(target, "__qualname__", repr(target))
    try:
        path = inspect.getsourcefile(target) or "?"
        line = target.__code__.co_firstlineno if isinstance(target, FunctionType) else inspect.getsourcelines(target)[1]
    except (TypeError, OSError):
        return "?", 0, name
    return path, line, name


def is_async(function: Any) -> bool:
    """Whether it is an async function, or an object that is called like one."""
    inner = inspect.unwrap(getattr(function, "func", function))
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004


def name_of(annotation: Any) -> str:
    """Return an annotation as one would write it."""
    if annotation is type(None):
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return what an annotation may be: the parts of a union, or it alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def annotations(function: Callable[..., Any], names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Resolve a function's annotations. :raises NameError: one names something that is not there (yet)."""
    try:
        return get_type_hints(function, localns=dict(names or {}), include_extras=True)
    except (AttributeError, SyntaxError) as error:
        raise NameError(f"one of its annotations cannot be read ({error})") from error


def signature(function: Callable[..., Any], names: Mapping[str, Any] | None = None, *, skip: int = 0) -> Signature:
    """Read a function's annotations; `skip` leaves out `self`.

    :raises NameError: an annotation names something not defined yet; try again at start.
    :raises TypeError: a parameter has no annotation, or is `*args` or `**kwargs`.
    """
    hints = annotations(function, names)
    parameters = []
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{where(function)}: *{parameter.name} cannot be provided; name each parameter")
        if parameter.name not in hints:
            raise TypeError(f"{where(function)}: parameter {parameter.name} needs an annotation")
        has_default = parameter.default is not parameter.empty
        parameters.append(Parameter(parameter.name, hints[parameter.name], has_default))
    returns = hints.get("return", inspect.Signature.empty)
    return Signature(tuple(parameters), returns, where(function))


def not_started(message: type) -> ProgrammingError:
    """Return what to raise when a message is dispatched and its app does not run."""
    return ProgrammingError(
        f"{message.__name__} was dispatched before the app had started. Write `async with app:`, or let "
        "FastAPI run the lifespan (install(app, api); TestClient needs `with`)."
    )


def not_awaited(message: type, returned: Any) -> ProgrammingError:
    """Return what to raise when a handler returns something that it should have waited for; it is not run."""
    returned.close()
    return ProgrammingError(
        f"The handler of {message.__name__} returned {returned.__qualname__}(...) without waiting for it, so that "
        "nothing of it happened. Write await before it."
    )


class Handlers:
    """Message types and their one handler each, in the order they were registered.

    A handler that was only decorated is kept until its annotations can be read, at start.
    """

    def __init__(self) -> None:
        self._found: dict[type, tuple[Any, Mapping[str, Any]]] = {}
        self.decorated: list[tuple[Any, Mapping[str, Any]]] = []
        self.faults: list[TwoHandlersError] = []

    def add(self, message: type, handler: Any, names: Mapping[str, Any]) -> None:
        """Register a handler. A second one for the same message is a fault, listed at start."""
        known = self._found.get(message)
        if known is None:
            self._found[message] = (handler, names)
        elif known[0] is not handler:
            self.faults.append(TwoHandlersError(message.__name__, where(known[0]), where(handler)))

    def decorate(self, handler: Any, names: Mapping[str, Any]) -> None:
        """Keep a handler whose first parameter says what it handles."""
        self.decorated.append((handler, names))

    def items(self) -> list[tuple[type, Any, Mapping[str, Any]]]:
        """All registered: message type, handler, and the local names its annotations may use."""
        return [(message, handler, names) for message, (handler, names) in self._found.items()]

    def by_message(self) -> Iterator[tuple[type, Any]]:
        """Yield each handler with what it handles, those that were decorated too, but for annotations without sense."""
        yield from ((message, handler) for message, (handler, _) in self._found.items())
        for handler, names in self.decorated:
            with suppress(NameError, TypeError):  # told where it is wired
                first = signature(getattr(handler, "handle", handler), names).message
                if first is not None and isinstance(first.annotation, type):
                    yield first.annotation, handler

    def include(self, other: "Handlers") -> None:
        """Take over all of another's."""
        for message, handler, names in other.items():
            self.add(message, handler, names)
        self.decorated.extend(other.decorated)
        self.faults.extend(other.faults)
