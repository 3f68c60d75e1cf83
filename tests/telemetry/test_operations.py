"""The dashboard and the alert rules speak of nothing but what /metrics says, and each alert says what to type."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml  # type: ignore[import-untyped]

from diptych.app.tuning import Tuning
from diptych.subscriptions.progress import State
from tests.telemetry.scraping import scrape
from tests.telemetry.tallies import Meanwhile, make_app
from tests.telemetry.web import client_of, make_api, traffic

PAGE = Path(__file__).parent.parent.parent / "docs" / "monitoring.md"
FOLDER = PAGE.parent / "operations"
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "prometheus-alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
WORDS = {"sum", "max", "min", "count", "rate", "absent", "by", "or", "vector", "histogram_quantile"}
LABELS = {"command", "query", "outcome", "store", "projection", "duty", "state", "change", "le", "job", "instance"}


def metrics_in(expression: str) -> set[str]:
    """The names in an expression of PromQL that are no function, no label and no number."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)", " ", expression)
    return set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*", bare)) - WORDS


def labels_in(expression: str) -> set[str]:
    """The labels that an expression selects or groups by."""
    selected = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression)
    grouped = [name for group in re.findall(r"\bby \(([^)]*)\)", expression) for name in re.split(r",\s*", group)]
    return {*selected, *grouped}


def dashboard_expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


EXPRESSIONS = [*dashboard_expressions(), *(rule["expr"] for rule in RULES)]


@pytest.fixture
async def exposed() -> set[str]:
    """The names of all samples that a service gives after a little traffic."""
    meanwhile = Meanwhile()
    app = make_app("memory:", meanwhile)
    async with client_of(make_api(app)) as client:
        await traffic(app, client, meanwhile)
        return (await scrape(client)).names()


@pytest.mark.anyio
async def test_every_metric_of_the_dashboard_and_the_alerts_is_exposed(exposed: set[str]) -> None:
    named = {expression: metrics_in(expression) for expression in EXPRESSIONS}
    assert all(named.values())
    assert {expression: unknown for expression, names in named.items() if (unknown := names - exposed)} == {}


@pytest.mark.anyio
async def test_every_metric_that_is_exposed_has_a_panel(exposed: set[str]) -> None:
    shown = set[str]().union(*map(metrics_in, dashboard_expressions()))
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in exposed}
    assert families - {re.sub("_(bucket|count|sum)$", "", name) for name in shown} == set()


def test_expressions_select_and_group_by_labels_that_there_are() -> None:
    labels = set[str]().union(*map(labels_in, EXPRESSIONS))
    assert {"projection", "outcome", "le"} < labels
    assert labels <= LABELS


def test_the_values_that_are_selected_are_those_that_are_said() -> None:
    states = set(re.findall(r'state="(\w+)"', " ".join(EXPRESSIONS)))
    outcomes = set("|".join(re.findall(r'outcome=~"([\w|]+)"', " ".join(EXPRESSIONS))).split("|"))
    assert states == {"stopped"} < set(get_args(State))
    assert outcomes == {"failed", "unknown"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_brackets_are_closed(expression: str) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_type(rule: dict[str, Any]) -> None:
    summary = rule["annotations"]["summary"]
    assert re.search(r"`diptych (status|projection show \{\{ \$labels\.projection \}\})`", summary)
    assert rule["for"]
    assert rule["labels"]["severity"] in ("warning", "critical")
    used = set(re.findall(r"\$labels\.(\w+)", summary))
    assert used <= labels_in(rule["expr"])  # a label that was summed away would be empty there


def test_there_is_an_alert_for_each_trouble_and_the_page_tells_of_it() -> None:
    page = PAGE.read_text()
    assert len(RULES) == 10
    assert [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in page] == []


def test_the_alert_of_lag_has_the_limit_of_health() -> None:
    (rule,) = (rule for rule in RULES if rule["alert"] == "DiptychProjectionBehind")
    assert rule["expr"].endswith(f"> {Tuning().lag_limit:g}")


def test_the_panels_of_the_dashboard_are_told_apart_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
