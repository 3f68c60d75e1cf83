"""Alerts reach whoever was registered for them; who fails or hangs delays nobody else."""

import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest

from diptych.alerts import Alert, AlertChange, Webhook
from diptych.app.sinks import AlertHandler, Patience, Sinks
from diptych.errors import ConfigurationError
from tests.waiting import until

pytestmark = pytest.mark.anyio

QUICK = Patience(attempts=3, attempt=5.0, first_pause=0.001, longest_pause=0.002, farewell=0.05)
ALERT = Alert(7, "tallies", "lag", "tallies is 42.0 s behind", 42.0, 1_767_225_600_000_000, 1_767_225_600_500_000)
RAISED = AlertChange("raised", ALERT)
RESOLVED = AlertChange("resolved", ALERT._replace(resolved_at=1_767_225_601_000_000))


@asynccontextmanager
async def delivering(*handlers: AlertHandler, patience: Patience = QUICK) -> AsyncIterator[Sinks]:
    sinks = Sinks(handlers, patience)
    sinks.start()
    yield sinks
    await sinks.stop()


class Told:
    """A handler that fails some times first, and then takes what it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.changes = failures, list[AlertChange]()

    async def __call__(self, change: AlertChange) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not now")
        self.changes.append(change)

    async def has(self, *changes: AlertChange) -> None:
        await until(lambda: self.changes == list(changes))


async def hang(_: AlertChange) -> None:
    await anyio.sleep_forever()


async def logged(caplog: pytest.LogCaptureFixture, what: str) -> str:
    """The first line with this text, when it is there."""
    await until(lambda: any(what in line for line in caplog.messages))
    return next(line for line in caplog.messages if what in line)


async def test_every_handler_is_told_in_order() -> None:
    one, other = Told(), Told()
    async with delivering(one, other) as sinks:
        sinks.send([RAISED, RESOLVED])
        await one.has(RAISED, RESOLVED)
        await other.has(RAISED, RESOLVED)


async def test_the_log_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "diptych.alerts")
    Sinks([]).send([RAISED, RESOLVED])
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", "Alert 7 is raised: tallies is 42.0 s behind"),
        ("INFO", "Alert 7 is resolved: tallies is 42.0 s behind"),
    ]


async def test_a_handler_that_fails_is_tried_again() -> None:
    told = Told(failures=2)
    async with delivering(told) as sinks:
        sinks.send([RAISED, RESOLVED])
        await told.has(RAISED, RESOLVED)


async def test_a_handler_that_fails_again_and_again_is_given_up_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(failures=3)
    async with delivering(told) as sinks:
        sinks.send([RAISED, RESOLVED])
        await told.has(RESOLVED)
    line = await logged(caplog, "not delivered")
    assert line.startswith("Alert 7 (raised) was not delivered to ")
    assert line.endswith(": not now, 3 times. It is kept: diptych projection show tallies")


async def test_a_handler_that_hangs_delays_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    async with delivering(hang, told, patience=QUICK._replace(attempt=0.02)) as sinks:
        sinks.send([RAISED])
        await told.has(RAISED)
        assert "hang: it takes longer than 0.02 s, 3 times" in await logged(caplog, "not delivered")


async def test_what_waits_for_a_handler_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """The newest are kept: they say how things are."""
    told = Told()
    sinks = Sinks([told], QUICK)
    many = [AlertChange("raised", ALERT._replace(id=number)) for number in range(102)]
    sinks.send(many)
    sinks.start()
    await told.has(*many[2:])
    await sinks.stop()
    assert sum("100 newer ones wait for it" in line for line in caplog.messages) == 2


async def test_what_was_sent_before_the_end_is_delivered() -> None:
    told = Told()
    async with delivering(told) as sinks:
        sinks.send([RAISED])
    assert told.changes == [RAISED]


async def test_a_handler_that_hangs_does_not_hinder_the_end() -> None:
    with anyio.fail_after(5):
        async with delivering(hang) as sinks:
            sinks.send([RAISED])


# --- the webhook -------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Somebody else's server: answers as told (0: never), then with 200, and keeps what it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answers: list[int] = []
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.is_over = threading.Event()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if answer == 0:
            self.server.is_over.wait(10)
            return
        self.send_response(answer)
        if answer in (302, 307):
            self.send_header("Location", f"http://{self.server.place}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.is_over.set()
        server.shutdown()
        thread.join()


async def test_a_webhook_posts_json(server: Server) -> None:
    await Webhook(f"http://{server.place}/alerts?team=shop", {"X-Key": "secret"})(RESOLVED)
    ((path, headers, body),) = server.got
    assert path == "/alerts?team=shop"
    assert (headers["Content-Type"], headers["X-Key"]) == ("application/json", "secret")
    assert body == {
        "text": "resolved: tallies is 42.0 s behind",
        "change": "resolved",
        "alert": {
            "id": 7,
            "projection": "tallies",
            "kind": "lag",
            "message": "tallies is 42.0 s behind",
            "value": 42.0,
            "raised_at": "2026-01-01T00:00:00+00:00",
            "updated_at": "2026-01-01T00:00:00.500000+00:00",
            "resolved_at": "2026-01-01T00:00:01+00:00",
        },
    }


async def test_a_webhook_that_fails_twice_is_tried_again(server: Server) -> None:
    server.answers = [500, 503]
    async with delivering(Webhook(f"http://{server.place}/")) as sinks:
        sinks.send([RAISED])
        await until(lambda: len(server.got) == 3)
    assert [body["change"] for _, _, body in server.got] == ["raised"] * 3


async def test_a_webhook_that_answers_500_for_ever_is_given_up(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [500] * 3
    async with delivering(Webhook(f"http://{server.place}/")) as sinks:
        sinks.send([RAISED])
        assert "it answered 500, 3 times" in await logged(caplog, "not delivered")


async def test_a_webhook_that_hangs_delays_nobody_else(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.answers = [0] * 3
    told = Told()
    async with delivering(Webhook(f"http://{server.place}/", timeout=0.1), told) as sinks:
        sinks.send([RAISED])
        await told.has(RAISED)
        assert "no answer within 0.1 s, 3 times" in await logged(caplog, "not delivered")


async def test_a_webhook_that_nobody_listens_at_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with Server() as closed:
        place = closed.place
    async with delivering(Webhook(f"http://{place}/")) as sinks:
        sinks.send([RAISED])
        assert "it cannot be reached" in await logged(caplog, "not delivered")


async def test_what_is_secret_in_a_url_is_never_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [500] * 3
    async with delivering(Webhook(f"http://ada:s%2Fcret1@{server.place}/s-cret2?token=s-cret3")) as sinks:
        sinks.send([RAISED])
        assert "to the webhook at 127.0.0.1: " in await logged(caplog, "not delivered")
    assert server.got[0][1]["Authorization"] == "Basic YWRhOnMvY3JldDE="
    assert not [line for line in caplog.messages if "cret" in line]


@pytest.mark.parametrize("answer", [302, 307])
async def test_a_redirect_is_not_followed(server: Server, caplog: pytest.LogCaptureFixture, answer: int) -> None:
    """What is secret in the headers would go elsewhere."""
    server.answers = [answer] * 3
    async with delivering(Webhook(f"http://{server.place}/", {"X-Key": "secret"})) as sinks:
        sinks.send([RAISED])
        assert f"it answered {answer}, 3 times" in await logged(caplog, "not delivered")
    assert [path for path, _, _ in server.got] == ["/"] * 3


@pytest.mark.parametrize("url", ["file:///etc/secret", "secret", "http://", "http://u:secret@h:port/", "ftp://secret"])
def test_a_webhook_of_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="http or https") as refused:
        Webhook(url)
    assert "secret" not in str(refused.value)
