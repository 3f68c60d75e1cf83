"""What handlers may ask for beside their message, and where it comes from.

Rule: everything is made once, when the app starts, and let go of when it stops.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Annotated, Any, get_args, get_origin

from diptych.errors import ConfigurationError
from diptych.handlers import Signature, at, name_of, signature, where

Resolver = Callable[[Any], Any]


class MissingError(LookupError):
    """Nobody provides this. Its text says what to write."""


class Providers:
    """Types and what provides them: an object, or a class, function or async generator, its own parameters provided."""

    def __init__(self, otherwise: Resolver) -> None:
        self._otherwise = otherwise
        self._factories: dict[Any, tuple[Any, Mapping[str, Any]]] = {}
        self._made: dict[Any, Any] = {}
        self._in_making: list[Any] = []

    def add(self, type: Any, factory: Any, names: Mapping[str, Any]) -> None:
        """Say what provides a type. :raises ConfigurationError: something else does already."""
        if type in self._factories:
            raise ConfigurationError(
                f"{name_of(type)} is provided twice. Delete one app.provide({name_of(type)}, ...)."
            )
        self._factories[type] = (factory, names)

    async def resolve(self, annotation: Any, stack: AsyncExitStack, otherwise: Resolver) -> Any:
        """Return what is provided for an annotation, made now if it was not yet, else what `otherwise` says.

        :raises MissingError: nobody provides it.
        """
        annotation = _bare(annotation)
        if annotation in self._made:
            return self._made[annotation]
        if annotation not in self._factories:
            try:
                return otherwise(annotation)
            except LookupError as missing:
                why = (
                    str(missing)
                    or f"nobody provides {name_of(annotation)}; write app.provide({name_of(annotation)}, ...)"
                )
                raise MissingError(why) from missing
        if annotation in self._in_making:
            chain = " -> ".join(name_of(one) for one in [*self._in_making, annotation])
            raise MissingError(f"{name_of(annotation)} needs itself: {chain}")
        self._in_making.append(annotation)
        try:
            factory, names = self._factories[annotation]
            made = self._made[annotation] = await self.make(factory, names, stack)
        finally:
            self._in_making.pop()
        return made

    async def make(self, factory: Any, names: Mapping[str, Any], stack: AsyncExitStack) -> Any:
        """Call a factory with its parameters provided, awaiting or entering it as it needs."""
        if not (inspect.isclass(factory) or inspect.isroutine(factory) or isinstance(factory, partial)):
            return factory
        if inspect.isgeneratorfunction(factory):
            raise MissingError(f"{where(factory)}: a generator cannot be waited for; write async def")
        arguments = await self.arguments(_signature(factory, names), stack, self._otherwise)
        if inspect.isasyncgenfunction(factory):
            return await stack.enter_async_context(asynccontextmanager(factory)(**arguments))
        made = factory(**arguments)
        return await made if inspect.isawaitable(made) else made

    async def arguments(
        self, read: Signature, stack: AsyncExitStack, otherwise: Resolver, *, skip: int = 0
    ) -> dict[str, Any]:
        """Return a value for every parameter after the first `skip` that has no default.

        :raises MissingError: naming the first parameter that nobody provides.
        """
        found: dict[str, Any] = {}
        for parameter in read.parameters[skip:]:
            try:
                found[parameter.name] = await self.resolve(parameter.annotation, stack, otherwise)
            except MissingError as missing:
                if not parameter.has_default or _bare(parameter.annotation) in self._factories:
                    raise MissingError(f"{read.where}: parameter {parameter.name}: {missing}") from missing
        return found

    def forget(self) -> None:
        """Drop everything made, so that the next start makes it again."""
        self._made.clear()


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _signature(factory: Any, names: Mapping[str, Any]) -> Signature:
    """Read what a factory needs; nothing, if that cannot be read and every parameter has a default."""
    is_class = inspect.isclass(factory)
    if is_class and factory.__init__ is object.__init__:
        return Signature((), factory, where(factory))
    try:
        return signature(factory.__init__, names, skip=1) if is_class else signature(factory, names)
    except (NameError, TypeError, ValueError) as error:
        if _needs_nothing(factory):
            return Signature((), factory, where(factory))
        raise MissingError(at(factory, f"{error}; provide a function of your own that makes it")) from error


def _needs_nothing(factory: Any) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # of a class written in C
        return False
    return all(
        each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters
    )
