"""/metrics: parsed as Prometheus does, true to what happened, and never an old number for a store that is away."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from diptych import App, new_id
from diptych.errors import StoreUnavailableError
from diptych.telemetry import prometheus
from diptych.web import WebSettings
from tests.telemetry.scraping import parsed, scrape
from tests.telemetry.tallies import GetTally, Meanwhile, PassOver, Raise, make_app
from tests.telemetry.web import client_of, make_api, traffic

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parent.parent.parent / "docs" / "monitoring.md"
LABELS = {"command", "query", "outcome", "store", "projection", "state", "change", "le", "duty"}


@pytest.fixture
def meanwhile() -> Meanwhile:
    return Meanwhile()


@pytest.fixture
def app(meanwhile: Meanwhile) -> App:
    return make_app("memory:", meanwhile)


@pytest.fixture
async def client(app: App) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(make_api(app)) as client:
        yield client


async def test_every_metric_is_there_after_a_little_traffic_and_on_the_page(
    app: App, client: httpx.AsyncClient, meanwhile: Meanwhile
) -> None:
    await traffic(app, client, meanwhile)
    found = await scrape(client)
    page = DOCS.read_text()
    assert len(found.helps) >= 16
    assert all(found.helps.values())
    assert [name for name in found.helps if f"`{name}" not in page] == []
    with_samples = {name for name in found.helps if any(sample.startswith(name) for sample in found.names())}
    assert with_samples == set(found.helps)


async def test_the_other_metrics_of_the_process_are_there_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["cache-control"] == "no-store"
    assert "python_info" in answer.text


async def test_openmetrics_is_spoken_to_who_asks_for_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_a_retry_is_counted_as_one_command_and_one_conflict(
    app: App, client: httpx.AsyncClient, meanwhile: Meanwhile
) -> None:
    before = await scrape(client)
    await traffic(app, client, meanwhile)
    counted = (await scrape(client)).since(before)
    assert counted.value("diptych_command_duration_seconds_count", command="Raise", outcome="committed") == 1
    assert counted.value("diptych_append_conflicts_total", command="Raise") == 1
    assert counted.value("diptych_append_duration_seconds_count", store="memory", outcome="conflict") == 1
    assert counted.value("diptych_append_duration_seconds_count", store="memory", outcome="committed") == 1
    assert counted.value("diptych_append_events_sum", store="memory") == 1
    assert counted.value("diptych_append_group_size_sum", store="memory") == 1
    assert counted.value("diptych_projection_lease_changes_total", projection="tallies", change="lost") == 1


@pytest.mark.parametrize(
    ("note", "by", "outcome"), [("bug", 1, "failed"), ("unknown", 1, "unknown"), ("", -1, "rejected")]
)
async def test_failures_are_counted_by_outcome(client: httpx.AsyncClient, note: str, by: int, outcome: str) -> None:
    before = await scrape(client)
    answer = await client.post("/v1/tallies", json={"tally_id": str(new_id()), "by": by, "note": note})
    assert answer.status_code >= 400
    counted = (await scrape(client)).since(before)
    assert counted.value("diptych_command_duration_seconds_count", command="Raise", outcome=outcome) == 1
    assert counted.value("diptych_command_duration_seconds_count", command="Raise", outcome="committed") == 0


async def test_a_query_is_counted_once_through_the_bus_of_a_request(app: App, client: httpx.AsyncClient) -> None:
    before = await scrape(client)
    written = await client.post("/v1/tallies", json={"tally_id": (tally_id := str(new_id()))})
    seen = await client.get(f"/v1/tallies/{tally_id}", headers={"Diptych-After": written.headers["Diptych-Position"]})
    assert seen.status_code == 200
    counted = (await scrape(client)).since(before)
    assert counted.value("diptych_query_duration_seconds_count", query="GetTally", outcome="answered") == 1


async def test_the_gauges_are_those_of_the_store_now(app: App, client: httpx.AsyncClient) -> None:
    for note in ("", "", "poison"):
        await app.commands.dispatch(Raise(tally_id=new_id(), note=note))
    await app.caught_up()
    found = await scrape(client)
    assert found.value("diptych_up") == 1
    assert found.value("diptych_log_position") == 3
    assert found.value("diptych_projection_position", projection="tallies") == 3
    assert found.value("diptych_projection_lag_events", projection="tallies") == 0
    assert found.value("diptych_projection_parked_keys", projection="tallies") == 1
    assert found.value("diptych_projection_state", projection="tallies", state="parked") == 1


async def test_lag_is_measured_against_the_store_and_not_remembered(
    app: App, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that no longer turns would believe that there is nothing to do."""
    progress = app.progress["tallies"]
    await app.views.leases.pause("tallies", None, reason="so that it does not turn", by="")
    await app.status()  # which has the board looked at
    await app.commands.dispatch(Raise(tally_id=new_id()))
    monkeypatch.setattr(progress, "beat", lambda: None)
    progress.heartbeat -= 100
    found = await scrape(client)
    assert found.value("diptych_projection_lag_events", projection="tallies") == 1
    assert found.value("diptych_projection_lag_seconds", projection="tallies") > 0
    assert found.value("diptych_projection_heartbeat_age_seconds", projection="tallies") > 50


@pytest.mark.parametrize("trouble", ["error", "silence"])
async def test_of_a_store_that_cannot_be_read_nothing_is_said_but_that(
    app: App, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    async def head() -> Any:
        if trouble == "error":
            raise StoreUnavailableError("tallies.db is locked")
        await asyncio.Event().wait()

    monkeypatch.setattr(app.events, "head", head)
    monkeypatch.setattr(prometheus, "PATIENCE", 0.05)
    found = await scrape(client)
    assert found.samples[("diptych_up", frozenset())] == 0
    assert [name for name in found.helps if name.startswith(("diptych_log", "diptych_projection_lag_s"))] == []
    assert "diptych_projection_state" not in found.helps


async def test_an_app_that_is_not_running_is_not_up(app: App) -> None:
    transport = httpx.ASGITransport(make_api(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://tallies") as client:
        assert (await scrape(client)).samples[("diptych_up", frozenset())] == 0


async def test_labels_are_types_and_names_and_no_ids(app: App, client: httpx.AsyncClient) -> None:
    async def few(count: int) -> set[Any]:
        for _ in range(count):
            tally_id = new_id()
            await app.commands.dispatch(Raise(tally_id=tally_id), command_id=new_id(), user_id=str(new_id()))
            await app.commands.dispatch(PassOver(tally_id=tally_id))
            await client.get(f"/v1/tallies/{tally_id}")
            await client.get(f"/{tally_id}")
        await app.caught_up()
        await app.settled()
        await app.queries.answer(GetTally(tally_id=tally_id))
        return set((await scrape(client)).samples)

    first = await few(2)
    assert await few(20) == first
    assert {label for _, labels in first for label, _ in labels} <= LABELS


async def test_without_the_client_of_prometheus_there_is_no_route_and_nobody_counts(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with client_of(make_api(app)) as client:
        assert (await client.get("/metrics")).status_code == 404
        assert (await client.get("/health/ready")).status_code == 200
        assert app.observers == []


@pytest.mark.parametrize(("path", "is_there"), [(None, False), ("/internal/metrics", True)])
async def test_the_path_can_be_another_or_none(app: App, path: str | None, is_there: bool) -> None:
    async with client_of(make_api(app, WebSettings(metrics_path=path))) as client:
        assert (await client.get("/metrics")).status_code == 404
        assert bool(app.observers) is is_there
        if path is not None:
            assert "diptych_up" in (await scrape(client, path)).names()


async def test_an_app_behind_two_applications_counts_once(app: App) -> None:
    make_api(app)
    async with client_of(make_api(app)) as client:
        before = await scrape(client)
        await app.commands.dispatch(Raise(tally_id=new_id()))
        counted = (await scrape(client)).since(before)
        assert counted.value("diptych_command_duration_seconds_count", command="Raise", outcome="committed") == 1


WORKER = """
import asyncio, sys
from diptych import new_id
from diptych.telemetry.prometheus import Prometheus, expose
from tests.telemetry.tallies import Raise, make_app

async def main():
    app = make_app()
    app.observe(Prometheus())
    async with app:
        for _ in range(int(sys.argv[1])):
            await app.commands.dispatch(Raise(tally_id=new_id()))
        sys.stdout.write((await expose(app.status))[0].decode())

asyncio.run(main())
"""


async def test_several_processes_are_counted_together_where_prometheus_is_told_to(tmp_path: Path) -> None:
    def work(commands: int) -> str:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", WORKER, str(commands)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    first = parsed(await anyio.to_thread.run_sync(work, 2))
    second = parsed(await anyio.to_thread.run_sync(work, 3))
    committed = {"command": "Raise", "outcome": "committed"}
    assert first.value("diptych_command_duration_seconds_count", **committed) == 2
    assert second.value("diptych_command_duration_seconds_count", **committed) == 5
    assert second.value("diptych_log_position") == 3
