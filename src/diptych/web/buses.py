"""The two buses as a request sees them: bound to who asks, to its headers, and to the headers of its answer."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from uuid import UUID

from diptych.clock import new_id
from diptych.errors import OtherHistoryError, StaleReadError, WrongExpectedVersionError
from diptych.messages import Command, Query, Receipt
from diptych.read.bus import Answer, QueryBus, QueryHandler
from diptych.read.freshness import NOT_ASKED
from diptych.web.exchange import Exchange
from diptych.web.request_headers import command_id_of, correlation_of, place_of, tag_of, version_of
from diptych.write.bus import CommandBus, CommandHandler, Expected

R = TypeVar("R")
C = TypeVar("C", bound=Command[Any])

_OTHER_HISTORY: Final = "other-history"


class RequestCommands(CommandBus):
    """The command bus of one request.

    Idempotency-Key becomes the command id, If-Match the expected version of the first command, X-Correlation-ID or
    traceparent the correlation. The answer gets Diptych-Position, ETag where one aggregate changed, and
    Idempotent-Replayed where all of it had happened before.
    """

    def __init__(self, exchange: Exchange, user_id: str | None) -> None:
        self._bus = exchange.app.commands.as_user(user_id)
        self._exchange, self._sent = exchange, exchange.sent
        key, if_match = exchange.header(b"idempotency-key"), exchange.header(b"if-match")
        self._key = None if key is None else command_id_of(key)
        self._expected = None if if_match is None else version_of(if_match)
        if self._sent.correlation_id is None:
            given = correlation_of(exchange.header(b"x-correlation-id"), exchange.header(b"traceparent"))
            self._sent.correlation_id = given or new_id()

    def as_user(self, user_id: str | None) -> CommandBus:
        """Return the same, for another user. The key and the version in the headers hold for both."""
        return RequestCommands(self._exchange, user_id)

    def register(self, command: type[C], handler: CommandHandler[C] | Callable[..., Awaitable[Any]]) -> None:
        """Say who handles a command; before the app starts, as on the app's own bus."""
        self._bus.register(command, handler)

    async def dispatch(
        self,
        command: Command[R],
        *,
        command_id: UUID | None = None,
        user_id: str | None = None,
        expected: Expected = None,
        correlation_id: UUID | None = None,
    ) -> Receipt[R]:
        """Handle a command; when this returns it is on disk. What is given here goes before what the headers say.

        Several commands of one type get ids of their own, in the order in which the route sends them; the same object
        sent again is the same command.
        """
        sent = self._sent
        if sent.first is None:
            sent.first = command
        if command is sent.first and expected is None:
            expected = self._expected
        if command_id is None and self._key is not None:
            command_id = sent.id_of(command, self._key)
        if correlation_id is None:
            correlation_id = sent.correlation_id
        try:
            receipt = await self._bus.dispatch(
                command, command_id=command_id, user_id=user_id, expected=expected, correlation_id=correlation_id
            )
        except WrongExpectedVersionError:
            self._exchange.is_precondition_failed = expected is not None and expected == self._expected
            raise
        self._note(receipt)
        return receipt

    def _note(self, receipt: Receipt[Any]) -> None:
        exchange, sent = self._exchange, self._sent
        exchange.saw(receipt.position, receipt.token)
        sent.versions.update(receipt.streams)
        if len(sent.versions) == 1:
            exchange.give(b"etag", tag_of(*sent.versions.values()))
        else:
            exchange.given.pop(b"etag", None)
        sent.are_all_replays = sent.are_all_replays and receipt.is_replay
        if sent.are_all_replays:
            exchange.give(b"idempotent-replayed", "true")
        else:
            exchange.given.pop(b"idempotent-replayed", None)


class RequestQueries(QueryBus):
    """The query bus of one request.

    Diptych-After makes a query wait for that position, up to a second; then it is answered as it is. The answer gets
    Diptych-Position, Diptych-Age (seconds) and, when it is stale, Diptych-Stale and the reason: that of the answer, or
    that the position is of another history.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._bus, self._exchange = exchange.app.queries, exchange
        after = exchange.header(b"diptych-after")
        self._after = None if after is None else place_of(after)

    def register(self, query: type[Query[R]], handler: QueryHandler[Any, R] | Callable[..., Awaitable[R]]) -> None:
        """Say who answers a query; before the app starts, as on the app's own bus."""
        self._bus.register(query, handler)

    async def dispatch(self, query: Query[R], *, after: Receipt[Any] | str | None = None, within: float = 1.0) -> R:
        """Answer a query. With `after` given here it is fresh or an error; with Diptych-After it may say it is stale.

        :raises StaleReadError: `after` was given here, and was not reached in time.
        """
        if after is not None:
            return await self._bus.dispatch(query, after=after, within=within)
        answer = await self.answer(query)
        return answer.value

    async def answer(
        self, query: Query[R], *, after: Receipt[Any] | str | None = None, within: float | None = None
    ) -> Answer[R]:
        """Answer a query, say how old the answer is, and put that on the HTTP answer too."""
        exchange = self._exchange
        if within is None:
            within = exchange.settings.fresh_within
        try:
            answer = await self._answer(query, after, within)
        except StaleReadError as error:  # what it asked for was not there, and might be in a fresh answer
            self._stale(error.reason)
            raise
        if answer.fresh is not NOT_ASKED:  # it read nothing, and who keeps the last position would lose a better one
            exchange.saw(answer.as_of_position, answer.token)
        exchange.aged(answer.age)
        if answer.is_stale:
            self._stale(answer.reason or "behind")
        return answer

    async def _answer(self, query: Query[R], after: Receipt[Any] | str | None, within: float) -> Answer[R]:
        """Answer as it is, and stale, where Diptych-After is of a history that is no more: no waiting brings that."""
        if after is not None or self._after is None:
            return await self._bus.answer(query, after=after, within=within)
        try:
            return await self._bus.answer(query, after=self._after, within=within)
        except OtherHistoryError:
            self._stale(_OTHER_HISTORY)
            self._after = None
            return await self._bus.answer(query)

    def _stale(self, reason: str) -> None:
        self._exchange.give(b"diptych-stale", "true")
        self._exchange.give(b"diptych-stale-reason", reason)
