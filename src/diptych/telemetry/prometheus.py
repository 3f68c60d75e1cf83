"""What Prometheus is given: counts and durations as they happen, and where everything stands when it asks.

Rule: a gauge is read from the store while it is scraped. What cannot be read is absent, and `diptych_up` says 0.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

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
    Standing,
    Work,
)

COMMANDS: Final = Histogram(
    "diptych_command_duration_seconds",
    "Commands from dispatch to receipt, all attempts together.",
    ("command", "outcome"),
    buckets=SECONDS,
)
QUERIES: Final = Histogram(
    "diptych_query_duration_seconds",
    "Queries, their waiting for freshness included.",
    ("query", "outcome"),
    buckets=SECONDS,
)
CONFLICTS: Final = Counter(
    "diptych_append_conflicts",
    "Appends that found another version than they expected; most are tried again.",
    ("command",),
)
APPENDS: Final = Histogram(
    "diptych_append_duration_seconds",
    "Appends of commands to the event store, waiting for the writer included.",
    ("store", "outcome"),
    buckets=SECONDS,
)
APPEND_EVENTS: Final = Histogram("diptych_append_events", "Events of one append.", ("store",), buckets=SIZES)
APPEND_GROUP: Final = Histogram(
    "diptych_append_group_size",
    "Appends in one transaction, as each of them saw it.",
    ("store",),
    buckets=SIZES,
)
BATCHES: Final = Histogram(
    "diptych_projection_batch_duration_seconds",
    "Batches of a projection with events that concern it, from fold to commit.",
    ("projection", "outcome"),
    buckets=SECONDS,
)
LEASES: Final = Counter(
    "diptych_projection_lease_changes",
    "Leases that this process took, released or lost.",
    ("projection", "change"),
)


class Prometheus(Quiet):
    """Counts an app's work in the metrics of this process, which all its apps share."""

    @contextmanager
    def command(self, command: Handled) -> Iterator[None]:
        """Time it, by type and outcome."""
        try:
            yield
        finally:
            COMMANDS.labels(command.name, command.outcome).observe(command.seconds)

    @contextmanager
    def query(self, query: Work) -> Iterator[None]:
        """Time it, by type and outcome."""
        try:
            yield
        finally:
            QUERIES.labels(query.name, query.outcome).observe(query.seconds)

    @contextmanager
    def append(self, append: Appending) -> Iterator[None]:
        """Time it, by store and outcome; measure what was stored; count a conflict."""
        try:
            yield
        finally:
            APPENDS.labels(append.name, append.outcome).observe(append.seconds)
            if append.outcome == "conflict":
                CONFLICTS.labels(append.command).inc()
            elif append.outcome == "committed":
                APPEND_EVENTS.labels(append.name).observe(append.events)
                APPEND_GROUP.labels(append.name).observe(append.together)

    @contextmanager
    def batch(self, batch: Batch) -> Iterator[None]:
        """Time it, if any of its events concerned the projection."""
        try:
            yield
        finally:
            if batch.is_noteworthy:
                BATCHES.labels(batch.name, batch.outcome).observe(batch.seconds)

    def lease_changed(self, projection: str, lane: int, change: LeaseChange) -> None:
        """Count it."""
        LEASES.labels(projection, change).inc()


async def expose(measure: Measure, accept: str = "") -> tuple[bytes, str]:
    """Return what Prometheus reads, and its media type: all metrics of this process, and where everything stands now.

    With PROMETHEUS_MULTIPROC_DIR, counts and durations are those of all processes that write there.
    """
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(_Gauges(await _standing(measure)))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


async def _standing(measure: Measure) -> Standing | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return await measure()
    except (DiptychError, TimeoutError):
        return None


class _Gauges:
    """Where everything stands, as gauges; of what could not be read, nothing but that."""

    def __init__(self, standing: Standing | None) -> None:
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        """Give one family after the other."""
        standing = self._standing
        yield GaugeMetricFamily("diptych_up", "Whether the store could be read just now.", int(standing is not None))
        if standing is None:
            return
        yield GaugeMetricFamily("diptych_log_position", "Position of the newest event.", standing.head)
        for name, help, attribute in _PLACES:
            family = GaugeMetricFamily(f"diptych_projection_{name}", help, labels=("projection",))
            for place in standing.projections:
                family.add_metric((place.name,), getattr(place, attribute))
            yield family
        states = GaugeMetricFamily(
            "diptych_projection_state", "1 for the state it is in.", labels=("projection", "state")
        )
        for place in standing.projections:
            states.add_metric((place.name, place.state), 1)
        yield states
        yield from _of_duties(standing)


def _of_duties(standing: Standing) -> Iterator[Metric]:
    for name, help, attribute in _DUTIES:
        family = GaugeMetricFamily(f"diptych_duty_{name}", help, labels=("duty",))
        for duty in standing.duties:
            family.add_metric((duty.name,), getattr(duty, attribute))
        yield family
    states = GaugeMetricFamily("diptych_duty_state", "1 for the state it is in.", labels=("duty", "state"))
    for duty in standing.duties:
        states.add_metric((duty.name, duty.state), 1)
    yield states


_DUTIES: Final = (
    ("lag_seconds", "Age of the oldest event it has not taken in; 0 when there is none.", "lag_seconds"),
    ("waiting_tasks", "Tasks that are to be done, timers left out.", "waiting"),
    ("retried_tasks", "Tasks that failed and wait for another try.", "retried"),
    ("parked_keys", "Keys put aside until somebody acts.", "parked"),
    ("stuck_sagas", "Sagas put aside until somebody acts.", "stuck"),
    ("timer_late_seconds", "How long its oldest timer is due; 0 when none is.", "late_seconds"),
    ("task_late_seconds", "How long its oldest task is due, which hangs or fails; 0 when none is.", "undone_seconds"),
)
_PLACES: Final = (
    ("position", "Position of the newest event it has applied or passed over.", "position"),
    ("lag_seconds", "Age of the oldest event it has not applied; 0 when there is none.", "lag_seconds"),
    ("lag_events", "Events after its position.", "lag_events"),
    ("parked_keys", "Keys put aside because one of their events failed.", "parked"),
    ("heartbeat_age_seconds", "Time since its loop last turned.", "idle_seconds"),
)
