"""The benchmarks run: a tiny round of each, whose figures mean nothing; how figures are judged needs no clock."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from benchmarks import machine, report
from benchmarks.__main__ import workloads
from benchmarks.generator import average_bytes, fold, log
from benchmarks.place import STORES, Database, StoreName
from benchmarks.postgres.place import PostgresDatabase
from benchmarks.runner import run
from benchmarks.sqlite.place import SqliteDatabase
from benchmarks.w04_catch_up import check
from benchmarks.workload import Goal, Outcome, Scale, Workload
from tests.postgres import Server

pytestmark = pytest.mark.anyio

WORKLOADS, ON_POSTGRESQL = workloads(), workloads("postgresql")


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: f"{workload.key} {workload.title}")
async def test_every_workload_runs_beside_its_twin(workload: Workload, tmp_path: Path) -> None:
    await has_an_outcome_for_each_goal(workload, SqliteDatabase(tmp_path))

    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("workload", ON_POSTGRESQL, ids=lambda workload: f"{workload.key} {workload.title}")
async def test_every_workload_runs_beside_its_twin_on_postgresql(workload: Workload, postgres: Server) -> None:
    await has_an_outcome_for_each_goal(workload, PostgresDatabase(postgres))

    assert postgres.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'bench%'") == ""


async def has_an_outcome_for_each_goal(workload: Workload, database: Database) -> None:
    outcomes = await run(workload, Scale("tiny"), database)

    assert [outcome.goal for outcome in outcomes] == list(workload.goals)
    assert all(len(outcome.diptych) == 1 and len(outcome.twin) <= 1 for outcome in outcomes)
    assert outcomes[0].twin


def test_every_workload_of_the_design_is_there() -> None:
    designed = {f"W{number}" for number in range(1, 13)}

    assert {workload.key for workload in WORKLOADS} == designed | {"rebuild", "growth", "start"}
    assert {workload.key for workload in ON_POSTGRESQL} == designed - {"W7"} | {"rebuild", "growth"}


@pytest.mark.parametrize("store", STORES)
def test_every_goal_is_a_number_once_the_store_is_known(store: StoreName) -> None:
    limits = [goal.limit for workload in workloads(store) for goal in workload.goals]

    assert all(limit is None or isinstance(limit, int | float) for limit in limits)


def outcome(goal: Goal, diptych: Sequence[float], twin: Sequence[float]) -> Outcome:
    return Outcome(WORKLOADS[0], goal, tuple(diptych), tuple(twin), {})


def test_a_ratio_is_the_median_of_the_pairs_and_not_the_ratio_of_the_medians() -> None:
    judged = outcome(Goal("p50", "ms", 1.8), [1.0, 20.0, 3.0], [1.0, 10.0, 1.0])

    assert judged.ratio == 2.0
    assert judged.verdict == "MISS"


def test_a_higher_figure_is_judged_the_other_way_round() -> None:
    goal = Goal("events", "per s", 0.6, better="higher")

    assert outcome(goal, [60.0], [100.0]).verdict == "ok"
    assert outcome(goal, [59.0], [100.0]).verdict == "MISS"


def test_an_absolute_goal_does_not_look_at_the_twin() -> None:
    goal = Goal("p50", "ms", 2.0, kind="absolute")

    assert outcome(goal, [2.0], [0.1]).verdict == "ok"
    assert outcome(goal, [2.1], [9.0]).verdict == "MISS"


def test_a_quick_run_fails_only_below_seven_tenths_of_the_goal() -> None:
    goal = Goal("events", "per s", 1.0, better="higher")

    assert report.exit_code([outcome(goal, [0.71], [1.0])], Scale("quick")) == 0
    assert report.exit_code([outcome(goal, [0.69], [1.0])], Scale("quick")) == 1
    assert report.exit_code([outcome(goal, [0.71], [1.0])], Scale("normal")) == 1


def test_a_wrong_row_is_found_however_fast_it_came() -> None:
    expected = fold(list(log(200)))
    rows = [(row.order_id.hex, str(row.customer_id), row.status, int(row.total_amount * 100), row.item_count)
            for row in expected.values()]  # fmt: skip
    check(expected, rows)

    first = rows[0]
    with pytest.raises(SystemExit, match="1 of 20 orders differ"):
        check(expected, [(*first[:3], first[3] + 1, first[4]), *rows[1:]])
    with pytest.raises(SystemExit, match="19 rows found"):
        check(expected, rows[1:])


def test_the_generator_is_seeded_and_its_events_are_of_the_stated_size() -> None:
    facts = list(log(1000))

    assert facts == list(log(1000))
    assert 150 < average_bytes(facts) < 250
    assert {len(rows) for rows in [fold(facts)]} == {100}
    assert all(isinstance(fact.order_id, UUID) for fact in facts)


def test_the_json_says_on_what_the_figures_were_taken(tmp_path: Path) -> None:
    judged = outcome(Goal("p50", "ms", 1.8), [1.0], [1.0])

    report.write(
        tmp_path / "results" / "run.json",
        [judged],
        Scale("quick"),
        machine.describe(tmp_path, SqliteDatabase(tmp_path)),
    )

    written = json.loads((tmp_path / "results" / "run.json").read_text())
    assert {"date", "machine", "disk", "versions", "durability", "scale", "figures"} == written.keys()
    assert "synchronous=FULL" in written["durability"]["events"]
    assert written["versions"]["sqlite"]
    assert written["figures"][0] | {"target": "<= 1.8 x", "verdict": "ok", "ratio": 1.0} == written["figures"][0]


def test_a_folder_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "filesystem", lambda folder: "tmpfs")

    with pytest.raises(SystemExit, match="--folder"):
        machine.disk_folder(tmp_path)
