"""Everything that was registered, resolved: handlers with their arguments, projections, events.

Rule: every fault is collected, and raised with all others.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from diptych.app.duties import Duties, WiringDuties
from diptych.app.module import Module
from diptych.app.wiring import Wired, Wiring, either_side
from diptych.errors import ConfigurationError, NoHandlerFoundError
from diptych.events.codec import Codec
from diptych.handlers import Handlers
from diptych.messages import Command, Query
from diptych.projections.definition import define_all
from diptych.projections.plan import Definition
from diptych.providing import Providers
from diptych.read.bus import QueryBus
from diptych.write.bus import CommandBus, CommandRoutes

Expected: TypeAlias = tuple[type[Command[Any]] | type[Query[Any]], str]
"""A message that something dispatches, and where."""


class Resolving(NamedTuple):
    """What an app was given."""

    modules: Sequence[Module]
    expected: Sequence[Expected]
    buses: tuple[CommandBus, QueryBus]
    routes: CommandRoutes
    is_worker: bool

    async def resolve(self, codec: Codec, stack: AsyncExitStack) -> tuple[Wired, tuple[Definition, ...], Duties]:
        """Wire it; what is provided is made, and unmade with the stack. :raises ConfigurationError: with all faults."""
        problems: list[str] = []
        providers = Providers(either_side)
        for module in self.modules:
            for provided in module.provided:
                _collect(problems, partial(providers.add, *provided))
        wiring = Wiring(providers, codec, self.buses)
        await wiring.commands(_merged(module.command_handlers for module in self.modules), stack)
        await wiring.queries(_merged(module.query_handlers for module in self.modules), stack)
        definitions: tuple[Definition, ...] = ()
        try:
            definitions = define_all({cls: mode for one in self.modules for cls, mode in one.projected.items()}.items())
        except ConfigurationError as error:
            problems.extend(error.problems)
        for event in {event for definition in definitions for event in definition.events}:
            _collect(problems, partial(codec.register, event))
        for message, place in self.expected:
            if message not in wiring.wired.commands and message not in wiring.wired.queries:
                problems.extend(NoHandlerFoundError(message.__name__, place).problems)
        wiring_duties = WiringDuties(codec, providers, self.routes, wiring.wired, is_worker=self.is_worker)
        duties = await wiring_duties.wire(self.modules, definitions, stack)
        problems.extend(wiring.wired.problems)
        if problems:
            raise ConfigurationError(list(dict.fromkeys(problems)))
        return wiring.wired, definitions, duties


def _merged(handlers: Iterable[Handlers]) -> Handlers:
    merged = Handlers()
    for one in handlers:
        merged.include(one)
    return merged


def _collect(problems: list[str], step: Callable[[], None]) -> None:
    try:
        step()
    except ConfigurationError as error:
        problems.extend(error.problems)
