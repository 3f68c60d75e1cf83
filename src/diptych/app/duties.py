"""The sagas and reactions of an app: read, wired, and made ready to run.

Rule: every fault is collected with all others of the wiring.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, get_origin

from diptych.app.known_duties import namesakes
from diptych.app.module import Module
from diptych.app.wiring import Wired, either_side
from diptych.clock import Clock
from diptych.errors import ConfigurationError, NoHandlerFoundError
from diptych.events.codec import Codec
from diptych.handlers import Signature, signature, where
from diptych.messages import Command, Envelope, IdempotencyKey, with_envelope
from diptych.projections.plan import Definition
from diptych.providing import MissingError, Providers
from diptych.reactions.consuming import InboxDuty
from diptych.reactions.inbox import Inbox
from diptych.reactions.publication import Published
from diptych.reactions.publishing import PublicationDuty
from diptych.reactions.reaction import Declared, read_reaction
from diptych.reactions.running import ReactionDuty
from diptych.sagas.plan import plan_of
from diptych.sagas.running import Call, SagaDuty
from diptych.sagas.saga import Direction, Saga
from diptych.sagas.stepped import SagaStepped
from diptych.sagas.steps import DIRECTIONS, Step, commands_of, steps_of
from diptych.subscriptions.duty import Duty, Sending
from diptych.write.bus import CommandBus, CommandRoutes
from diptych.write.repository import Repository


class Duties(NamedTuple):
    """What sagas and reactions of an app are run with."""

    clock: Clock
    all: Sequence[Duty] = ()


class WiringDuties:
    """Wires sagas and reactions, after the handlers."""

    def __init__(
        self, codec: Codec, providers: Providers, routes: CommandRoutes, wired: Wired, *, is_worker: bool
    ) -> None:
        self._is_worker = is_worker
        self._codec, self._providers, self._routes, self._wired = codec, providers, routes, wired
        self._commands = CommandBus(routes)
        self._sources: dict[int, Inbox] = {}

    async def wire(self, modules: Sequence[Module], definitions: Sequence[Definition], stack: AsyncExitStack) -> Duties:
        """Return all duties of these modules, beside these projections; faults go to what was wired."""
        self._codec.register(SagaStepped)  # a log may have steps of sagas that the app has no more
        found: list[Duty] = []
        sagas = dict.fromkeys(saga for module in modules for saga in module.sagas)
        for saga in sagas:
            found.extend(await self._saga(saga, stack))
        for module in modules:
            for declared in module.reactions:
                found.extend(await self._reaction(declared, stack))
        for published in [one for module in modules for one in module.published]:
            found.extend(await self._publication(published, stack))
        for inbox in [one for module in modules for one in module.inboxes]:
            found.extend(self._inbox(inbox))
        self._wired.problems += namesakes([(duty.name, duty.kept) for duty in found], definitions)
        self._refuse_aggregates(found)
        if not found:
            return Duties(either_side(Clock))
        clock = await self._providers.resolve(Clock, stack, either_side)
        return Duties(clock, found)

    async def _saga(self, saga: type[Saga], stack: AsyncExitStack) -> list[Duty]:
        try:
            plan = plan_of(saga)
            for event in plan.events:
                self._codec.register(event)
            sent = [*plan.rejections, *self._sent(saga)]
            self._expect(sent, where(saga))
            commands: Mapping[str, type[Command[Any]]] = {cls.__name__: cls for cls in self._wired.commands}
            calls = {
                (name, direction): await self._call(one, direction, stack)
                for name, one in steps_of(saga).items()
                for direction in DIRECTIONS
                if one.is_call(direction)
            }
            return [SagaDuty(plan, self._codec, commands, self._send, calls)]
        except ConfigurationError as error:
            self._wired.problems.extend(error.problems)
        except (TypeError, NameError, ValueError, MissingError) as error:
            self._wired.problems.append(str(error))
        return []

    def _sent(self, saga: type[Saga]) -> list[type[Command[Any]]]:
        return [each for one in steps_of(saga).values() for way in DIRECTIONS for each in commands_of(one, way)]

    def _expect(self, commands: Iterable[type[Command[Any]]], place: str) -> None:
        """Note those that nobody handles, and that are said to be sent."""
        for command in dict.fromkeys(commands):
            if command not in self._wired.commands:
                self._wired.problems += NoHandlerFoundError(command.__name__, place).problems

    async def _call(self, step: Step[Any], direction: Direction, stack: AsyncExitStack) -> Call:
        method = step.method(direction)
        assert method is not None
        read = signature(method, step.names, skip=1)
        key = next((one.name for one in read.parameters if one.annotation is IdempotencyKey), None)
        rest = Signature(tuple(one for one in read.parameters if one.name != key), read.returns, read.where)
        return Call(await self._providers.arguments(rest, stack, _of_a_step), key)

    async def _reaction(self, declared: Declared, stack: AsyncExitStack) -> list[Duty]:
        try:
            reaction = read_reaction(declared)
            for event in reaction.events:
                self._codec.register(event)
            arguments = await self._providers.arguments(reaction.rest, stack, self._either_side, skip=1)
            return [ReactionDuty(reaction, self._codec, arguments)]
        except ConfigurationError as error:
            self._wired.problems.extend(error.problems)
        except (TypeError, NameError, ValueError, MissingError) as error:
            self._wired.problems.append(str(error))
        return []

    async def _publication(self, published: Published, stack: AsyncExitStack) -> list[Duty]:
        try:
            told = published.publication.read()
            for event in told:
                self._codec.register(event)
            published.check()
            if self._is_worker:
                stack.push_async_callback(published.publisher.close)
                await published.open()
            return [PublicationDuty(published, told, self._codec)]
        except ConfigurationError as error:
            self._wired.problems.extend(error.problems)
        except (TypeError, NameError, ValueError) as error:
            self._wired.problems.append(str(error))
        return []

    def _inbox(self, inbox: Inbox) -> list[Duty]:
        try:
            accepted = inbox.read()
            for one in accepted.values():
                self._expect(one.makes, where(one.function))
            self._refuse_shared(inbox)
            return [InboxDuty(inbox, accepted, self._send)]
        except (TypeError, NameError, ValueError) as error:
            self._wired.problems.append(str(error))
        return []

    def _refuse_shared(self, inbox: Inbox) -> None:
        """:raises TypeError: another inbox would be handed its messages, and acknowledge what it does not take."""
        other = self._sources.setdefault(id(inbox.source), inbox)
        if other is not inbox:
            raise TypeError(
                f"Inbox {inbox.name}: its source is that of inbox {other.name}, too, and each message goes to one of "
                "them; give it a source of its own, with another durable or group"
            )

    def _either_side(self, annotation: Any) -> Any:
        if annotation is Repository or get_origin(annotation) is Repository:
            raise MissingError("a reaction changes no aggregate itself; ask for a CommandBus, and dispatch a command")
        return self._commands if annotation is CommandBus else either_side(annotation)

    def _refuse_aggregates(self, duties: Sequence[Duty]) -> None:
        """A saga of an aggregate's name would write into its streams."""
        for duty in duties:
            if isinstance(duty, SagaDuty) and duty.name in self._wired.aggregates:
                self._wired.problems.append(
                    f"{duty.name}: an aggregate has this name, too; give the saga another name="
                )

    async def _send(self, command: Command[Any], sending: Sending) -> Any:
        envelope = Envelope(
            sending.command_id,
            correlation_id=sending.correlation_id,
            causation_id=sending.cause,
            tenant=sending.tenant,
        )
        envelope.beside = sending.beside
        return await self._routes.dispatch(with_envelope(command, envelope, is_first=True))


def _of_a_step(annotation: Any) -> Any:
    if annotation is CommandBus:
        raise MissingError("a step sends a command by returning it: write a plain def")
    return either_side(annotation)
