"""The command bus: one handler per command, and one atomic commit per dispatch."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable
from uuid import UUID

from diptych.errors import NoHandlerFoundError, ProgrammingError
from diptych.handlers import Handlers, local_names, not_started
from diptych.messages import Command, Envelope, Receipt, envelope_of, tenant_here, with_envelope
from diptych.write.handling import Call, Handling
from diptych.write.unit_of_work import enclosing

R = TypeVar("R")
C = TypeVar("C", bound=Command[Any])
C_contra = TypeVar("C_contra", bound=Command[Any], contravariant=True)

Expected = Mapping[UUID, int] | int | None
Dispatch = Callable[[Command[Any]], Awaitable[Receipt[Any]]]
CommandMiddleware = Callable[[Dispatch], Dispatch]
"""Wraps every dispatch, the way Starlette does it: called once with what comes next, returns what is called with each
command. A class whose `__init__` takes `next` and whose `async __call__` takes the command is one. The commit happens
inside `next`; the first one added is the outermost."""


@runtime_checkable
class CommandHandler(Protocol[C_contra]):
    """The class-based spelling of a handler: register an object of it with `commands.register`."""

    async def handle(self, command: C_contra) -> Any:
        """Decide; what it returns is the receipt's result."""
        ...


class CommandRoutes:
    """What the command bus knows: handlers as registered, and their calls once the app has started."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.middleware: list[CommandMiddleware] = []
        self._calls: dict[type, Call] = {}
        self._chain: Dispatch | None = None
        self._handling: Handling | None = None

    def open(self, handling: Handling, calls: Mapping[type, Call], outermost: Sequence[CommandMiddleware] = ()) -> None:
        """Start: from now on commands are handled. `outermost` wraps what the middleware of the app has wrapped."""
        self._handling, self._calls = handling, dict(calls)
        middleware = (*outermost, *self.middleware)
        if middleware:
            chain: Dispatch = self.handle
            for wrap in reversed(middleware):
                chain = wrap(chain)
            self._chain = chain

    def close(self) -> None:
        """Stop: from now on commands are refused."""
        self._handling, self._chain, self._calls = None, None, {}

    def check(self, command: type[Command[Any]]) -> None:
        """Make sure that a command of this type can be dispatched now. :raises NoHandlerFoundError:"""
        if self._handling is None:
            raise not_started(command)
        if command not in self._calls:
            raise NoHandlerFoundError(command.__name__)

    def dispatch(self, command: Command[Any]) -> Awaitable[Receipt[Any]]:
        """Run a command through the middleware to its handler."""
        call = self._calls.get(type(command))
        if call is None or self._handling is None:
            self.check(type(command))
            raise AssertionError("unreachable")
        if self._chain is not None:
            return self._chain(command)
        return self._handling.handle(call, command)

    async def handle(self, command: Command[Any]) -> Receipt[Any]:
        """What the innermost middleware calls."""
        self.check(type(command))
        assert self._handling is not None
        return await self._handling.handle(self._calls[type(command)], command)


class CommandBus:
    """Sends a command to its one handler and commits what it recorded, all of it or nothing.

    When `dispatch` returns, it is on disk. When it raises, nothing is stored, except after UnknownOutcomeError.
    """

    def __init__(self, routes: CommandRoutes, user_id: str | None = None) -> None:
        self._routes, self._user_id = routes, user_id

    def as_user(self, user_id: str | None) -> "CommandBus":
        """Return a bus whose commands are sent by this user. :raises ProgrammingError: it is no text."""
        if not (user_id is None or isinstance(user_id, str)):
            raise _no_user(user_id)
        return CommandBus(self._routes, user_id)

    def register(self, command: type[C], handler: CommandHandler[C] | Callable[..., Awaitable[Any]]) -> None:
        """Say who handles a command: an object with `async handle(command)`, or an async function.

        A second handler is a fault like all others of the wiring: listed at the start.
        """
        self._routes.handlers.add(command, handler, local_names())

    async def dispatch(
        self,
        command: Command[R],
        *,
        command_id: UUID | None = None,
        user_id: str | None = None,
        expected: Expected = None,
        correlation_id: UUID | None = None,
    ) -> Receipt[R]:
        """Handle a command and return its receipt, once it is on disk.

        With `command_id` it takes effect once, however often it is sent: a repetition returns the first receipt.
        `expected` is the version that the caller has seen, of the aggregate loaded first or by id: no retry then.
        Inside a handler it commits by itself, before the command that it is part of, whatever becomes of that one.

        :raises NoHandlerFoundError: nobody handles it.
        :raises CommandIdReusedError: the id was used with other fields.
        :raises WrongExpectedVersionError: somebody else was faster, and went on being so.
        :raises UnknownOutcomeError: the commit was not confirmed; send the same command again.
        """
        known = envelope_of(command)
        if not (command_id is None or isinstance(command_id, UUID)):
            raise ProgrammingError(
                f"command_id={command_id!r} is no UUID. Write UUID(...), or key.id of an IdempotencyKey."
            )
        if not (user_id is None or isinstance(user_id, str)):
            raise _no_user(user_id)
        if command_id is None and known is not None:
            command_id, known.is_known = known.command_id, True
        envelope = Envelope(command_id, user_id=self._user_id if user_id is None else user_id)
        envelope.expected = expected
        outer = enclosing()
        if outer is not None:
            outer.has_dispatched = True
            envelope.tenant = outer.envelope.tenant
            envelope.causation_id = outer.envelope.command_id
            envelope.correlation_id = correlation_id or outer.envelope.correlation_id or outer.envelope.command_id
        else:
            envelope.tenant, envelope.correlation_id = tenant_here(), correlation_id
        return await self._routes.dispatch(with_envelope(command, envelope, is_first=known is None))


def _no_user(user_id: object) -> ProgrammingError:
    return ProgrammingError(f"A user id is text, and {user_id!r} is {type(user_id).__name__}. Write str(...).")


def bound(function: Callable[..., Awaitable[Any]], arguments: Mapping[str, Any]) -> Call:
    """Make the call of a handler, with everything it asked for beside its command."""
    return partial(function, **arguments) if arguments else function
