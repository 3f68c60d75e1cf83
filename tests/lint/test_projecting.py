"""What a projection causes, in the ways that people write it, and what looks like it and is allowed."""

import pytest

from diptych.lint.fixing import fixed
from tests.lint.sources import SERVICE, found, ids, indented


def projection(body: str, before: str = "", more: str = "") -> str:
    return (
        f"{before}\n\nclass Summaries(Projection[Summary]):\n    @on\n"
        f"    def placed(self, event: Placed, meta: Metadata) -> Summary:\n{indented(body)}"
        f"        return Summary(id=meta.stream.id, cents=event.cents)\n{more}"
    )


def handling(body: str, before: str = "") -> str:
    return (
        f"{before}\n\nclass Summaries(Projection[Summary]):\n"
        f"    async def handle(self, event: Placed, meta: Metadata, db: Db) -> None:\n{indented(body)}"
    )


@pytest.mark.parametrize(
    "code",
    [
        projection("httpx.post('x')"),
        projection("self._tell()", more="\n    def _tell(self) -> None:\n        httpx.post('x')\n"),
        projection("one()", "def one(): two()\ndef two(): three()\ndef three(): httpx.post('x')"),
        handling("async with httpx.AsyncClient() as client:\n    await client.post('x')"),
        handling("await CLIENT.post('x')", "CLIENT = httpx.AsyncClient()"),
        handling("await asyncio.to_thread(lambda: open('x'))"),
        projection("log = open('x', 'a')"),
    ],
)
def test_an_effect_is_found(code: str) -> None:
    assert ids(code) == ["DP203"]


def test_an_effect_of_a_client_that_the_class_declares_is_found() -> None:
    code = handling("await self.client.post('x')") + "\n    client: httpx.AsyncClient\n"
    assert ids(code) == ["DP203"]


@pytest.mark.parametrize(
    "code",
    [
        projection("name = names.get(event.cents)", "names = {1: 'one'}"),
        projection("pass", "def unrelated():\n    httpx.post('x')"),
        handling("await db.rows('SELECT cents FROM summary WHERE id = :id', id=meta.stream.id)"),
        projection("at = meta.recorded_at"),
        projection("at = datetime.fromtimestamp(event.cents, UTC)"),
        projection("key = id_for('summary', str(event.cents))"),
        projection("import logging\nlogging.getLogger('shop').info('placed')"),
    ],
)
def test_what_only_looks_like_it_is_none(code: str) -> None:
    assert ids(code) == []


def test_a_fourth_function_deep_is_not_looked_into() -> None:
    chain = "def one(): two()\ndef two(): three()\ndef three(): four()\ndef four(): httpx.post('x')"
    assert ids(projection("one()", chain)) == []


@pytest.mark.parametrize(
    "code",
    [
        handling("await app.commands.dispatch(Place(id=meta.stream.id, cents=1))"),
        handling("await app.commands.as_user('robot').dispatch(Place(id=meta.stream.id, cents=1))"),
        handling("await self.bus.dispatch(Place(id=meta.stream.id, cents=1))") + "\n    bus: CommandBus\n",
        handling(
            "await ship()",
            "ID = UUID(int=1)\nasync def ship():\n    await app.commands.dispatch(Place(id=ID, cents=1))",
        ),
    ],
)
def test_a_dispatch_is_found(code: str) -> None:
    assert ids(code) == ["DP204"]


def test_the_command_is_named() -> None:
    (one,) = found(handling("await app.commands.dispatch(Place(id=meta.stream.id, cents=1))"))
    assert "`Summaries` dispatches `Place`" in one.message


@pytest.mark.parametrize(
    "body",
    ["Order(meta.stream.id).place(1)", "order = Order(meta.stream.id)\norder.record(Placed(cents=1))"],
)
def test_an_append_is_found(body: str) -> None:
    assert ids(projection(body)) == ["DP205"]


@pytest.mark.parametrize(
    "body", ["at = datetime.now(UTC)", "at = time.time_ns()", "keys = {uuid4() for _ in range(2)}", "key = new_id()"]
)
def test_a_value_made_anew_is_found(body: str) -> None:
    assert ids(projection(body)) == ["DP206"]


def test_now_becomes_the_time_of_the_event() -> None:
    code = projection("at = datetime.now(tz=UTC)")
    text, _ = fixed(SERVICE + code, found(code))
    assert "at = meta.recorded_at\n" in text
