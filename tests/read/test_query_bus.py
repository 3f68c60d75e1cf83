"""The query bus by itself: who is asked, what wraps it, and what becomes of what a handler raises."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych import DomainError, Key, Query, ReadModel, ReadModels, StaleReadError, new_id
from diptych.errors import NoHandlerFoundError, OtherHistoryError, ProgrammingError
from diptych.read.bus import Ask, QueryBus, QueryRoutes, Reading, ReadSide
from diptych.read.models import table_of
from diptych.store.batches import LaneMove, ProjectionTables, RowChanges, ViewBatch
from diptych.store.protocols import SnapshotIsGone, StoreSettings
from diptych.store.sqlite.views import SqliteViewStore, temporary_view_store
from diptych.stream import token
from diptych.subscriptions.progress import Progress

pytestmark = pytest.mark.anyio

STORE = UUID("01890000-0000-7000-8000-000000000002")
LATER = token(9, bytes(16))


class BookRow(ReadModel):
    id: Annotated[int, Key]


class OtherRow(ReadModel):
    id: Annotated[int, Key]


class CountBooks(Query[int]):
    pass


class AskNobody(Query[int]):
    pass


class NoBooksError(DomainError):
    pass


BOOKS, OTHERS = table_of(BookRow), table_of(OtherRow)


async def put(views: SqliteViewStore, number: int) -> None:
    """Add a row at this position."""
    moves = [LaneMove(0, 0, number - 1)]
    await views.commit(ViewBatch("books", 1, moves, number, b"", 1, [RowChanges(BOOKS, [BookRow(id=number)])]))


@pytest.fixture
async def views() -> AsyncIterator[SqliteViewStore]:
    """A store with one book."""
    store = temporary_view_store(StoreSettings())
    await store.open([ProjectionTables("books", (BOOKS,)), ProjectionTables("others", (OTHERS,))], store_id=STORE)
    await put(store, 1)
    yield store
    assert store.connections_in_use == 0
    await store.close()


@pytest.fixture
def routes(views: SqliteViewStore) -> QueryRoutes:
    """A bus that is open; nobody answers yet."""

    async def look() -> None: ...

    async def id_at(position: int) -> bytes:
        return b""

    progress = {
        name: Progress(name, tables=(table,)) for name, table in (("books", BOOKS.name), ("others", OTHERS.name))
    }
    for number, one in enumerate(progress.values()):
        one.turns_to(number + 1)
        one.advance(1)
        one.shows("running")
    routes = QueryRoutes()
    routes.open(ReadSide(views, progress, look, id_at), {})
    return routes


def answered(routes: QueryRoutes, call: Callable[..., Awaitable[Any]], parameter: str | None = "read") -> QueryBus:
    """Let this function answer."""
    routes.calls[CountBooks] = Reading(call, parameter)
    return QueryBus(routes)


async def test_a_query_is_refused_before_the_start_and_after_the_end_and_when_nobody_answers(
    routes: QueryRoutes,
) -> None:
    bus = answered(routes, counted)
    assert await bus.dispatch(CountBooks()) == 1
    with pytest.raises(NoHandlerFoundError, match="AskNobody"):
        await bus.dispatch(AskNobody())
    routes.close()
    for closed in (bus, QueryBus(QueryRoutes())):
        with pytest.raises(ProgrammingError, match="CountBooks"):
            await closed.dispatch(CountBooks())


async def counted(query: CountBooks, read: ReadModels) -> int:
    return await read.count(BookRow)


async def seven(query: CountBooks) -> int:
    return 7


@pytest.mark.parametrize(("call", "parameter", "answer"), [(counted, "read", 1), (seven, None, 7)])
async def test_every_query_is_wrapped_also_one_that_reads_nothing(
    routes: QueryRoutes, call: Callable[..., Awaitable[Any]], parameter: str | None, answer: int
) -> None:
    """The first one added is the outermost."""
    seen: list[str] = []

    def noting(name: str) -> Callable[[Ask], Ask]:
        def wrap(ask: Ask) -> Ask:
            async def wrapped(query: Query[Any]) -> Any:
                seen.append(name)
                return await ask(query)

            return wrapped

        return wrap

    bus = answered(routes, call, parameter)
    assert await bus.dispatch(CountBooks()) == answer
    routes.middleware += [noting("outer"), noting("inner")]
    assert await bus.dispatch(CountBooks()) == answer
    assert (await bus.answer(CountBooks())).value == answer
    assert seen == ["outer", "inner"] * 2


@pytest.mark.parametrize("gone", [SnapshotIsGone(), BaseExceptionGroup("", [ValueError(), SnapshotIsGone()])])
async def test_a_handler_whose_snapshot_is_gone_is_called_once_more_with_a_new_one(
    routes: QueryRoutes, views: SqliteViewStore, gone: BaseException
) -> None:
    counts: list[int] = []

    async def count(query: CountBooks, read: ReadModels) -> int:
        counts.append(await read.count(BookRow))
        if len(counts) == 1:
            await put(views, 2)
            raise gone
        return counts[-1]

    assert await answered(routes, count).dispatch(CountBooks()) == 2
    assert counts == [1, 2]


@pytest.mark.parametrize("error", [KeyError("x"), BaseExceptionGroup("", [ValueError()])])
async def test_a_handler_that_fails_otherwise_is_not_called_again(routes: QueryRoutes, error: BaseException) -> None:
    calls: list[Query[int]] = []

    async def fail(query: CountBooks, read: ReadModels) -> int:
        calls.append(query)
        raise error

    with pytest.raises(type(error)) as caught:
        await answered(routes, fail).dispatch(CountBooks())
    assert caught.value is error
    assert len(calls) == 1


async def test_an_event_that_a_projection_remembers_is_not_looked_for_in_the_log_r1(routes: QueryRoutes) -> None:
    """The log of this bus has no event at all."""

    async def count(query: CountBooks, read: ReadModels) -> int:
        return await read.count(BookRow)

    bus, event_id = answered(routes, count), new_id().bytes
    assert await bus.dispatch(CountBooks()) == 1
    assert routes.side is not None
    routes.side.progress["books"].advance(2, event_id=event_id)
    routes.side.progress["books"].advance(3)
    assert await bus.dispatch(CountBooks(), after=token(2, event_id)) == 1
    with pytest.raises(OtherHistoryError):
        await bus.dispatch(CountBooks(), after=token(2, new_id().bytes))


async def test_what_a_handler_says_of_what_it_read_is_as_stale_as_what_it_read(routes: QueryRoutes) -> None:
    """R1: that there is no book is no news when the newest ones are not there yet."""

    async def refuse(query: CountBooks, read: ReadModels) -> int:
        await read.count(BookRow)
        raise NoBooksError

    bus = answered(routes, refuse)
    with pytest.raises(NoBooksError):
        await bus.dispatch(CountBooks())
    with pytest.raises(NoBooksError):
        await bus.answer(CountBooks())
    with pytest.raises(NoBooksError):
        await bus.dispatch(CountBooks(), after=token(1, bytes(16)))
    for asked in (bus.dispatch, bus.answer):
        with pytest.raises(StaleReadError, match="books") as caught:
            await asked(CountBooks(), after=LATER, within=0.0)
        assert isinstance(caught.value.__cause__, NoBooksError)


async def test_a_statement_that_fails_on_rows_of_another_shape_is_answered_as_stale(routes: QueryRoutes) -> None:
    """Only if they are of another shape: else the statement itself is wrong."""

    async def misspelt(query: CountBooks, read: ReadModels) -> int:
        return (await read.sql(int, "SELECT sum(pages) FROM book_row"))[0]

    bus = answered(routes, misspelt)
    with pytest.raises(ProgrammingError, match="pages"):
        await bus.dispatch(CountBooks())
    assert routes.side is not None
    routes.side.progress["books"].is_readable = False
    with pytest.raises(StaleReadError, match="books") as caught:
        await bus.dispatch(CountBooks())
    assert caught.value.reason == "frozen"


@pytest.mark.parametrize("unreadable", ["books", "others"])
async def test_rows_of_another_shape_are_no_answer_and_those_of_another_projection_do_not_matter(
    routes: QueryRoutes, unreadable: str
) -> None:
    """Whether or not it is known yet what the handler reads."""
    bus = answered(routes, counted)
    assert routes.side is not None
    routes.side.progress[unreadable].is_readable = False
    for _ in range(2):
        if unreadable == "books":
            with pytest.raises(StaleReadError) as caught:
                await bus.dispatch(CountBooks())
            assert (caught.value.projections, caught.value.reason) == (("books",), "frozen")
        else:
            assert await bus.dispatch(CountBooks()) == 1


async def test_an_answer_knows_what_its_handler_read_only_now(routes: QueryRoutes, views: SqliteViewStore) -> None:
    """R1: a table that was not read before is waited for before it counts."""
    models: list[type[ReadModel]] = [BookRow]

    async def count(query: CountBooks, read: ReadModels) -> int:
        return sum([await read.count(model) for model in models])

    bus = answered(routes, count)
    await put(views, 2)
    assert (await bus.answer(CountBooks())).as_of_position == 2
    assert routes.calls[CountBooks].tables == {BOOKS.name}
    models.append(OtherRow)
    with pytest.raises(StaleReadError, match="books"):
        await bus.dispatch(CountBooks(), after=LATER, within=0.0)
    assert routes.calls[CountBooks].tables == {BOOKS.name, OTHERS.name}
    assert [one.name for one in routes.calls[CountBooks].projections] == ["books", "others"]


async def test_a_handler_that_read_more_than_one_row_is_not_expected_to_read_one_only(routes: QueryRoutes) -> None:
    async def get(query: CountBooks, read: ReadModels) -> int:
        return (await read.one(BookRow, 1)).id

    bus = answered(routes, get)
    reading = routes.calls[CountBooks]
    await bus.answer(CountBooks())
    assert reading.reads_one
    reading.call = counted
    await bus.answer(CountBooks())
    reading.call = get
    await bus.answer(CountBooks())
    assert not reading.reads_one
