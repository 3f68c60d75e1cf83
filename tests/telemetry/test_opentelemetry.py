"""OpenTelemetry: one trace from request to append, the batch that applied its events linked to it, and metrics."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from diptych import App, new_id
from diptych.app.observed import observer_of
from diptych.errors import StoreUnavailableError
from diptych.events.recorded import StoredEvent, is_intact
from diptych.telemetry.observer import QUIET, Batch
from diptych.telemetry.opentelemetry import OpenTelemetry
from tests.telemetry.listening import somebody_else
from tests.telemetry.tallies import SECRET, Meanwhile, PassOver, Raise, make_app
from tests.telemetry.web import client_of, make_api, traffic
from tests.urls import url_for

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parent.parent.parent / "docs" / "monitoring.md"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Sdk(NamedTuple):
    """An SDK as a user sets it up, that keeps what it gets."""

    spans: InMemorySpanExporter
    tracing: TracerProvider
    reader: InMemoryMetricReader
    metering: MeterProvider

    def named(self, name: str) -> list[ReadableSpan]:
        """The finished spans of this name."""
        return [span for span in self.spans.get_finished_spans() if span.name == name]

    async def metrics(self) -> dict[str, Any]:
        """Collect, on another thread as an exporter does: each metric by its name."""
        data = await asyncio.to_thread(self.reader.get_metrics_data)
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: metric for scope in scopes for metric in scope.metrics}


@pytest.fixture
def sdk() -> Sdk:
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    return Sdk(spans, tracing, reader, MeterProvider([reader]))


@pytest.fixture
def meanwhile() -> Meanwhile:
    return Meanwhile()


@pytest.fixture
def app(sdk: Sdk, meanwhile: Meanwhile) -> App:
    app = make_app("memory:", meanwhile)
    app.observe(OpenTelemetry(sdk.tracing, sdk.metering))
    return app


@pytest.fixture
async def client(app: App) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(make_api(app)) as client:
        yield client


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def id_of(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def values(metric: Any) -> list[tuple[dict[str, Any], Any]]:
    """The attributes of each series, and its value or its count."""
    points = metric.data.data_points
    return [(dict(point.attributes), getattr(point, "count", getattr(point, "value", None))) for point in points]


async def test_one_trace_leads_from_the_request_to_the_append_and_a_link_from_the_batch_to_it(
    app: App, client: httpx.AsyncClient, sdk: Sdk
) -> None:
    await client.post("/v1/tallies", json={"tally_id": str(new_id())}, headers={"traceparent": TRACEPARENT})
    await app.caught_up()
    (request,), (command,) = sdk.named("POST /v1/tallies"), sdk.named("Raise")
    (append,), (batch,) = sdk.named("append events"), sdk.named("process tallies")
    assert {id_of(span)[0] for span in (request, command, append)} == {int(TRACE, 16)}
    assert parent_of(request) == int("b7ad6b7169203331", 16)
    assert (parent_of(command), parent_of(append)) == (id_of(request)[1], id_of(command)[1])
    assert [(link.context.trace_id, link.context.span_id) for link in batch.links] == [id_of(append)]
    assert batch.parent is None
    kinds = [span.kind for span in (request, command, append, batch)]
    assert kinds == [SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.PRODUCER, SpanKind.CONSUMER]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


async def test_the_trace_context_is_stored_with_the_events_it_led_to(url: str, sdk: Sdk) -> None:
    app = make_app(url)
    app.observe(OpenTelemetry(sdk.tracing, sdk.metering))
    async with app:
        await app.commands.dispatch(Raise(tally_id=new_id()))
        await app.caught_up()
        (row,) = (await app.events.read_log(after=0)).events
    (append,) = sdk.named("append events")
    trace, span = id_of(append)
    assert json.loads(row.metadata)["traceparent"].startswith(f"00-{trace:032x}-{span:016x}-")
    assert is_intact(row)
    assert append.attributes is not None
    assert append.attributes["diptych.store"] == url.partition(":")[0]


async def test_what_is_not_recorded_is_not_stored(meanwhile: Meanwhile) -> None:
    app = make_app("memory:", meanwhile)
    app.observe(OpenTelemetry(TracerProvider(ALWAYS_OFF), MeterProvider()))
    async with app:
        await app.commands.dispatch(Raise(tally_id=new_id()))
        (row,) = (await app.events.read_log(after=0)).events
    assert "traceparent" not in row.metadata


async def test_without_an_sdk_nothing_is_stored_and_nobody_listens() -> None:
    async with make_app() as app:
        await app.commands.dispatch(Raise(tally_id=new_id()))
        (row,) = (await app.events.read_log(after=0)).events
        assert app.observer is QUIET
    assert json.loads(row.metadata).keys() == {"command"}


async def test_a_server_span_that_is_there_already_is_not_made_again(app: App, sdk: Sdk) -> None:
    """As by FastAPI's own tracing, or by an ASGI middleware around it."""
    api = make_api(app)
    tracer = sdk.tracing.get_tracer("another instrumentation")

    async def instrumented(scope: Any, receive: Any, send: Any) -> None:
        with tracer.start_as_current_span("theirs", kind=SpanKind.SERVER):
            await api(scope, receive, send)

    async with client_of(instrumented, api) as client:
        await client.post("/v1/tallies", json={"tally_id": str(new_id())})
    servers = [span.name for span in sdk.spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert servers == ["theirs"]
    assert parent_of(sdk.named("Raise")[0]) == id_of(sdk.named("theirs")[0])[1]


async def test_the_server_span_follows_the_conventions(client: httpx.AsyncClient, sdk: Sdk) -> None:
    tally_id = new_id()
    assert (await client.get(f"/v1/tallies/{tally_id}")).status_code == 404
    (span,) = sdk.named("GET /v1/tallies/{tally_id}")
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/v1/tallies/{tally_id}",
        "http.response.status_code": 404,
        "url.path": f"/v1/tallies/{tally_id}",
        "url.scheme": "http",
    }
    assert span.status.status_code is StatusCode.UNSET


async def test_a_route_of_a_mounted_application_is_named_from_the_outside(app: App, sdk: Sdk) -> None:
    outer, inner = make_api(app), FastAPI()

    @inner.get("/things/{thing}")
    async def thing(thing: str) -> str:
        return thing

    outer.mount("/inner", inner)
    async with client_of(outer) as client:
        assert (await client.get("/inner/things/7")).status_code == 200
    assert len(sdk.named("GET /inner/things/{thing}")) == 1


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/health/ready"])
async def test_who_asks_how_the_service_is_makes_no_trace(client: httpx.AsyncClient, sdk: Sdk, path: str) -> None:
    assert (await client.get(path)).status_code == 200
    assert sdk.spans.get_finished_spans() == ()


async def test_a_failure_is_marked_and_its_words_stay_inside(app: App, client: httpx.AsyncClient, sdk: Sdk) -> None:
    for body in ({"note": "bug"}, {"by": -1}, {"note": "poison"}):
        await client.post("/v1/tallies", json={"tally_id": str(new_id()), **body})
    await app.caught_up()
    bug, refusal, _ = sdk.named("Raise")
    assert (bug.status.status_code, refusal.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert bug.attributes is not None
    assert refusal.attributes is not None
    assert (bug.attributes["error.type"], bug.attributes["diptych.outcome"]) == ("RuntimeError", "failed")
    assert refusal.attributes["error.type"] == "tests.telemetry.tallies.TooLowError"
    assert sdk.named("POST /v1/tallies")[0].status.status_code is StatusCode.ERROR
    assert SECRET not in "".join(span.to_json() for span in sdk.spans.get_finished_spans())


async def test_a_command_names_the_function_that_handles_it(app: App, client: httpx.AsyncClient, sdk: Sdk) -> None:
    await client.post("/v1/tallies", json={"tally_id": str(new_id())}, headers={"X-Correlation-ID": TRACE})
    attributes = sdk.named("Raise")[0].attributes
    assert attributes is not None
    assert attributes["code.function.name"] == "tests.telemetry.tallies.make_app.<locals>.raise_tally"
    (row,) = (await app.events.read_log(after=0)).events
    stored = json.loads(row.metadata)
    found = attributes["diptych.command.id"], attributes["diptych.correlation.id"]
    assert found == (stored["command"], stored["correlation"])


async def test_a_retry_is_one_command_span_around_two_appends(app: App, sdk: Sdk, meanwhile: Meanwhile) -> None:
    async with app:
        command = Raise(tally_id=new_id())
        meanwhile.happens = somebody_else(app, command)
        await app.commands.dispatch(command)
        await app.caught_up()
        metrics = await sdk.metrics()
    (span,) = sdk.named("Raise")
    assert [parent_of(append) for append in sdk.named("append events")] == [id_of(span)[1]] * 2
    (lost, stored) = sdk.named("append events")
    links = [link.context.span_id for batch in sdk.named("process tallies") for link in batch.links]
    assert links == [id_of(stored)[1]]
    assert lost.attributes is not None
    assert lost.attributes["diptych.outcome"] == "conflict"
    assert [count for _, count in values(metrics["diptych.command.duration"])] == [1]
    assert values(metrics["diptych.append.conflicts"]) == [({"diptych.command.type": "Raise"}, 1)]


async def test_events_that_concern_no_projection_make_no_trace_of_a_batch(app: App, sdk: Sdk) -> None:
    async with app:
        await app.commands.dispatch(PassOver(tally_id=new_id()))
        await app.caught_up()
    assert sdk.named("process tallies") == []


def row(position: int, metadata: str) -> StoredEvent:
    return StoredEvent(position, "", "Tally", str(new_id()), 1, b"", "Raised", 1, 0, "{}", metadata, 0, 0)


async def test_a_batch_links_to_each_append_once_to_the_newest_if_they_are_many_and_to_nothing_malformed(
    sdk: Sdk,
) -> None:
    traces = [json.dumps({"traceparent": f"00-{TRACE}-{n:016x}-01"}) for n in range(1, 201)]
    strange = ['{"traceparent":"' + "0" * 600 + '"}', '{"traceparent":7}', "{}"]
    rows = [row(at, metadata) for at, metadata in enumerate([*traces, *traces, *strange], 1)]
    batch = Batch("tallies", rows=rows, takes=frozenset(["Raised"]))
    with OpenTelemetry(sdk.tracing, sdk.metering).batch(batch):
        batch.outcome = "applied"
    (span,) = sdk.named("process tallies")
    linked = [link.context.span_id for link in span.links]
    assert linked[-1] == 200
    assert len(linked) == len(set(linked)) > 120


async def test_every_metric_has_its_unit_and_is_on_the_page(
    app: App, client: httpx.AsyncClient, sdk: Sdk, meanwhile: Meanwhile
) -> None:
    await traffic(app, client, meanwhile)
    metrics = await sdk.metrics()
    assert {name: metric.unit for name, metric in metrics.items()} == {
        "diptych.command.duration": "s",
        "diptych.query.duration": "s",
        "diptych.append.conflicts": "{conflict}",
        "diptych.append.events": "{event}",
        "diptych.append.group_size": "{append}",
        "diptych.projection.lease_changes": "{change}",
        "diptych.up": "1",
        "diptych.log.position": "{event}",
        "diptych.projection.position": "{event}",
        "diptych.projection.lag": "s",
        "diptych.projection.lag_events": "{event}",
        "diptych.projection.parked_keys": "{key}",
        "diptych.projection.heartbeat_age": "s",
        "diptych.projection.state": "1",
        "diptych.duty.lag": "s",
        "diptych.duty.waiting_tasks": "{task}",
        "diptych.duty.retried_tasks": "{task}",
        "diptych.duty.parked_keys": "{key}",
        "diptych.duty.stuck_sagas": "{saga}",
        "diptych.duty.timer_late": "s",
        "diptych.duty.task_late": "s",
        "diptych.duty.state": "1",
        "messaging.client.operation.duration": "s",
        "messaging.client.sent.messages": "{message}",
        "messaging.process.duration": "s",
    }
    page = DOCS.read_text()
    assert [name for name in metrics if f"`{name}`" not in page] == []


async def test_attributes_of_metrics_are_types_and_names_and_no_ids(app: App, sdk: Sdk) -> None:
    async with app:
        for _ in range(20):
            await app.commands.dispatch(Raise(tally_id=new_id()), command_id=new_id(), user_id=str(new_id()))
        await app.caught_up()
        metrics = await sdk.metrics()
    assert max(len(values(metric)) for metric in metrics.values()) == 1


async def test_of_a_store_that_cannot_be_read_nothing_is_said_but_that(
    app: App, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def head() -> Any:
        raise StoreUnavailableError("tallies.db is locked")

    async with app:
        await app.caught_up()
        monkeypatch.setattr(app.events, "head", head)
        metrics = await sdk.metrics()
    assert values(metrics["diptych.up"]) == [({}, 0)]
    assert "diptych.projection.lag" not in metrics


async def test_who_collects_on_the_event_loop_itself_gets_no_gauge_and_no_deadlock(app: App, sdk: Sdk) -> None:
    async with app:
        data = sdk.reader.get_metrics_data()
    assert data is None or "diptych.up" not in data.to_json()


async def test_after_the_stop_nothing_is_asked(app: App, sdk: Sdk) -> None:
    async with app:
        assert values((await sdk.metrics())["diptych.up"]) == [({}, 1)]
    assert "diptych.up" not in await sdk.metrics()


async def test_who_observes_with_its_own_providers_is_not_joined_by_another() -> None:
    own = OpenTelemetry(TracerProvider(), MeterProvider())
    assert observer_of([own]) is own


CONFIGURED = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.telemetry.tallies import Raise, make_app
from tests.telemetry.web import client_of, make_api
from diptych import new_id

app = make_app()
api = make_api(app)
spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)

async def main():
    for _ in range(2):
        async with client_of(api) as client:
            await client.post("/v1/tallies", json={"tally_id": str(new_id())})
            await app.caught_up()
    found = [span for span in spans.get_finished_spans() if span.instrumentation_scope.name == "diptych"]
    print(sorted({span.name for span in found}), len({span.context.trace_id for span in found}))
    print(len([span for span in spans.get_finished_spans() if span.kind is trace.SpanKind.SERVER]))

asyncio.run(main())
"""


def test_an_sdk_that_the_process_has_set_up_is_found_without_further_code() -> None:
    """FastAPI makes the server's span then, and we none."""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", CONFIGURED], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["['Raise', 'append events', 'process tallies'] 4", "2"]
