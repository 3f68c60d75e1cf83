"""What OpenTelemetry is given: spans, metrics, and the trace context that is stored with events.

Names are those of the semantic conventions where they have one (HTTP, messaging, `code.*`), else `diptych.*`.
Rule: a span carries types and numbers; no payload, no message of an error, no user. A gauge is read when metrics are
collected; what cannot be read then is absent, and `diptych.up` says 0.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock
from time import monotonic
from typing import Any, Final

from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from diptych.errors import DiptychError
from diptych.telemetry.observer import (
    PATIENCE,
    SECONDS,
    SIZES,
    Appending,
    Batch,
    Handled,
    LeaseChange,
    Measure,
    Quiet,
    Request,
    Running,
    Scope,
    Standing,
    Work,
)

_W3C: Final = TraceContextTextMapPropagator()
_MOST_LINKS: Final = 128  # what an SDK keeps of one span unless told otherwise
_FAULTS: Final = ("failed", "unknown")
_METHODS: Final = frozenset(["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"])
_APPEND: Final = {
    "messaging.system": "diptych",
    "messaging.operation.name": "append",
    "messaging.operation.type": "send",
}
_ONE_COLLECTION: Final = 0.5  # seconds; all gauges of one collection are of one reading
_PROCESS: Final = {
    "messaging.system": "diptych",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
}

Attributes = dict[str, Any]
Observe = Callable[[Standing], Iterator[Observation]]


class OpenTelemetry(Quiet):
    """Makes spans of an app's work, and records its metrics. Without providers, with those of the process."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("diptych", tracer_provider=tracer_provider)
        meter = metrics.get_meter("diptych", meter_provider=meter_provider)
        self._commands = _seconds(meter, "diptych.command.duration", "Commands from dispatch to receipt.")
        self._queries = _seconds(meter, "diptych.query.duration", "Queries, their waiting for freshness included.")
        self._appends = _seconds(meter, "messaging.client.operation.duration", "Appends to the event store.")
        self._batches = _seconds(meter, "messaging.process.duration", "Batches of projections, from fold to commit.")
        self._sent = meter.create_counter("messaging.client.sent.messages", "{message}", "Events stored.")
        self._conflicts = meter.create_counter(
            "diptych.append.conflicts", "{conflict}", "Appends that found another version than they expected."
        )
        self._events = _many(meter, "diptych.append.events", "{event}", "Events of one append.")
        self._group = _many(meter, "diptych.append.group_size", "{append}", "Appends in one transaction.")
        self._leases = meter.create_counter(
            "diptych.projection.lease_changes", "{change}", "Leases that this process took, released or lost."
        )
        self._gauges = _Gauges(meter)

    def running(self, app: Running) -> Scope:
        """Read where everything stands whenever metrics are collected."""
        return self._gauges.of(app)

    @contextmanager
    def request(self, request: Request) -> Iterator[None]:
        """Make the server's span, under the caller's, unless an instrumentation of the web framework has made it."""
        if trace.get_current_span().get_span_context().is_valid:
            yield
            return
        method = request.name if request.name in _METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.path": request.path, "url.scheme": request.scheme}
        name = "HTTP" if method == "_OTHER" else method
        with self._tracer.start_as_current_span(
            name,
            propagate.extract(request.headers),
            SpanKind.SERVER,
            attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            finally:
                _finish_request(span, name, request)

    @contextmanager
    def command(self, command: Handled) -> Iterator[None]:
        """Make the span that all attempts are in."""
        attributes = _handled(command, "diptych.command.type")
        with self._span(command.name, SpanKind.INTERNAL, command, attributes) as span:
            if span.is_recording():
                span.set_attribute("diptych.command.id", str(command.envelope.command_id))
                if command.envelope.correlation_id is not None:
                    span.set_attribute("diptych.correlation.id", str(command.envelope.correlation_id))
            try:
                yield
            finally:
                self._commands.record(command.seconds, _judged(command, {"diptych.command.type": command.name}))

    @contextmanager
    def query(self, query: Work) -> Iterator[None]:
        """Make its span."""
        with self._span(query.name, SpanKind.INTERNAL, query, _handled(query, "diptych.query.type")):
            try:
                yield
            finally:
                self._queries.record(query.seconds, _judged(query, {"diptych.query.type": query.name}))

    @contextmanager
    def append(self, append: Appending) -> Iterator[None]:
        """Make the span that events come from: its context is stored with them, if it is recorded."""
        attributes = {**_APPEND, "diptych.store": append.name, "messaging.batch.message_count": append.events}
        with self._span("append events", SpanKind.PRODUCER, append, attributes) as span:
            if span.get_span_context().trace_flags & TraceFlags.SAMPLED:
                carrier: dict[str, str] = {}
                _W3C.inject(carrier)
                append.traceparent = carrier.get("traceparent")
            try:
                yield
            finally:
                self._record_append(append)

    def _record_append(self, append: Appending) -> None:
        store = {"diptych.store": append.name}
        self._appends.record(append.seconds, _judged(append, {**_APPEND, **store}))
        if append.outcome == "conflict":
            self._conflicts.add(1, {"diptych.command.type": append.command})
        elif append.outcome == "committed":
            self._sent.add(append.events, {**_APPEND, **store})
            self._events.record(append.events, store)
            self._group.record(append.together, store)

    @contextmanager
    def batch(self, batch: Batch) -> Iterator[None]:
        """Make a trace of its own, linked to the appends whose events are in it; none for events of others."""
        mine = {"messaging.consumer.group.name": batch.name}
        positions = [row.position for row in batch.concerned()]
        try:
            if not positions:
                yield
                return
            attributes = {
                **_PROCESS,
                **mine,
                "messaging.batch.message_count": len(positions),
                "diptych.position.first": positions[0],
                "diptych.position.last": positions[-1],
            }
            links = _links(batch)
            with self._span(f"process {batch.name}", SpanKind.CONSUMER, batch, attributes, Context(), links):
                yield
        finally:
            if batch.is_noteworthy:
                self._batches.record(batch.seconds, _judged(batch, {**_PROCESS, **mine}))

    def lease_changed(self, projection: str, lane: int, change: LeaseChange) -> None:
        """Count it."""
        self._leases.add(1, {"diptych.projection": projection, "diptych.lease.change": change})

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        work: Work,
        attributes: Attributes,
        context: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name, context, kind, attributes, links, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            finally:
                span.set_attributes(_judged(work, {}))
                if work.outcome in _FAULTS:
                    span.set_status(Status(StatusCode.ERROR, work.outcome))


def configured() -> OpenTelemetry | None:
    """Return the OpenTelemetry of this process, if somebody has set up an SDK for traces or metrics; else None."""
    if _is_placeholder(trace.get_tracer_provider()) and _is_placeholder(metrics.get_meter_provider()):
        return None
    return _of_process()


@cache
def _of_process() -> OpenTelemetry:
    return OpenTelemetry()


def _is_placeholder(provider: object) -> bool:
    """Whether it is one of the API's own, which record nothing; an SDK's, or a vendor's, come from elsewhere."""
    return type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))


def _seconds(meter: metrics.Meter, name: str, what: str) -> metrics.Histogram:
    return meter.create_histogram(name, "s", what, explicit_bucket_boundaries_advisory=SECONDS)


def _many(meter: metrics.Meter, name: str, unit: str, what: str) -> metrics.Histogram:
    return meter.create_histogram(name, unit, what, explicit_bucket_boundaries_advisory=SIZES)


def _handled(work: Work, key: str) -> Attributes:
    return {key: work.name, "code.function.name": work.code} if work.code else {key: work.name}


def _judged(work: Work, attributes: Mapping[str, Any]) -> Attributes:
    judged: Attributes = {**attributes, "diptych.outcome": work.outcome}
    if work.error is not None:
        judged["error.type"] = _type(work.error)
    return judged


def _type(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _finish_request(span: Span, name: str, request: Request) -> None:
    if request.route is not None:
        span.update_name(f"{name} {request.route}")
        span.set_attribute("http.route", request.route)
    if request.status is not None:
        span.set_attribute("http.response.status_code", request.status)
    if request.error is not None or (request.status or 500) >= 500:
        kind = _type(request.error) if request.error is not None else str(request.status or "no_response")
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR))


def _links(batch: Batch) -> list[Link]:
    """Link to each append once, in the order of the log, and to the newest ones if they are too many."""
    stored = dict.fromkeys(row.metadata for row in batch.concerned() if '"traceparent"' in row.metadata)
    found = dict.fromkeys(json.loads(metadata).get("traceparent") for metadata in stored)
    contexts = [_context_of(traceparent) for traceparent in [*found][-_MOST_LINKS:]]
    return [Link(context) for context in contexts if context.is_valid]


def _context_of(traceparent: Any) -> trace.SpanContext:
    carrier = {"traceparent": traceparent} if isinstance(traceparent, str) else {}
    return trace.get_current_span(_W3C.extract(carrier, Context())).get_span_context()


class _Gauges:
    """The gauges of one meter, over all apps that run. Called on the thread of whoever collects."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._apps: list[Running] = []
        self._turn = Lock()
        self._read: Sequence[Standing | None] = ()
        self._read_at = float("-inf")
        meter.create_observable_gauge("diptych.up", [self._up], "1", "Whether the store could be read just now.")
        for name, unit, what, observe in _GAUGES:
            meter.create_observable_gauge(name, [self._callback(observe)], unit, what)

    @contextmanager
    def of(self, app: Running) -> Iterator[None]:
        """Read this app too, while the block runs."""
        self._apps.append(app)  # without the lock: who has it may be waiting for this very event loop
        try:
            yield
        finally:
            self._apps.remove(app)
            self._read_at = float("-inf")

    def _up(self, _: CallbackOptions) -> Iterator[Observation]:
        found = self._standing()
        if found:
            yield Observation(int(None not in found))

    def _callback(self, observe: Observe) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def callback(_: CallbackOptions) -> Iterator[Observation]:
            for standing in self._standing():
                if standing is not None:
                    yield from observe(standing)

        return callback

    def _standing(self) -> Sequence[Standing | None]:
        if _is_on_a_loop():  # which would wait for itself; nothing is known then, not even that all is well
            return ()
        with self._turn:
            if monotonic() - self._read_at > _ONE_COLLECTION:
                self._read = [_ask(app) for app in tuple(self._apps)]
                self._read_at = monotonic()
            return self._read


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _ask(app: Running) -> Standing | None:
    asked = asyncio.run_coroutine_threadsafe(_measured(app.measure), app.loop)
    try:
        return asked.result(PATIENCE)
    except (DiptychError, TimeoutError, asyncio.CancelledError):
        asked.cancel()
        return None


async def _measured(measure: Measure) -> Standing:
    return await measure()


def _of_each(attribute: str) -> Observe:
    def observe(standing: Standing) -> Iterator[Observation]:
        for place in standing.projections:
            yield Observation(getattr(place, attribute), {"diptych.projection": place.name})

    return observe


def _head(standing: Standing) -> Iterator[Observation]:
    yield Observation(standing.head)


def _states(standing: Standing) -> Iterator[Observation]:
    for place in standing.projections:
        yield Observation(1, {"diptych.projection": place.name, "diptych.projection.state": place.state})


def _of_each_duty(attribute: str) -> Observe:
    def observe(standing: Standing) -> Iterator[Observation]:
        for duty in standing.duties:
            yield Observation(getattr(duty, attribute), {"diptych.duty": duty.name})

    return observe


def _duty_states(standing: Standing) -> Iterator[Observation]:
    for duty in standing.duties:
        yield Observation(1, {"diptych.duty": duty.name, "diptych.duty.state": duty.state})


_GAUGES: Final[Sequence[tuple[str, str, str, Observe]]] = (
    ("diptych.log.position", "{event}", "Position of the newest event.", _head),
    ("diptych.projection.position", "{event}", "Position it has applied or passed over.", _of_each("position")),
    ("diptych.projection.lag", "s", "Age of the oldest event it has not applied.", _of_each("lag_seconds")),
    ("diptych.projection.lag_events", "{event}", "Events after its position.", _of_each("lag_events")),
    ("diptych.projection.parked_keys", "{key}", "Keys put aside after a failure.", _of_each("parked")),
    ("diptych.projection.heartbeat_age", "s", "Time since its loop last turned.", _of_each("idle_seconds")),
    ("diptych.projection.state", "1", "1 for the state it is in.", _states),
    ("diptych.duty.lag", "s", "Age of the oldest event it has not taken in.", _of_each_duty("lag_seconds")),
    ("diptych.duty.waiting_tasks", "{task}", "Tasks that are to be done.", _of_each_duty("waiting")),
    ("diptych.duty.retried_tasks", "{task}", "Tasks that wait for another try.", _of_each_duty("retried")),
    ("diptych.duty.parked_keys", "{key}", "Keys put aside until somebody acts.", _of_each_duty("parked")),
    ("diptych.duty.stuck_sagas", "{saga}", "Sagas put aside until somebody acts.", _of_each_duty("stuck")),
    ("diptych.duty.timer_late", "s", "How long its oldest timer is due.", _of_each_duty("late_seconds")),
    ("diptych.duty.task_late", "s", "How long its oldest task is due.", _of_each_duty("undone_seconds")),
    ("diptych.duty.state", "1", "1 for the state it is in.", _duty_states),
)
