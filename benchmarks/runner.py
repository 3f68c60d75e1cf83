"""Runs a workload's sides in turn, A B A B, so that a noisy machine disturbs both alike."""

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from benchmarks import peers
from benchmarks.place import Database
from benchmarks.workload import Figures, Measure, Outcome, Scale, Side, Workload


async def run(workload: Workload, scale: Scale, database: Database, *, with_peers: bool = False) -> list[Outcome]:
    """Measure every figure of a workload; its data are deleted afterwards."""
    sides: dict[str, Side] = {"diptych": workload.diptych, "twin": workload.twin}
    if with_peers:
        sides.update(peers.sides(workload.key))
    taken: dict[str, list[Figures]] = {name: [] for name in sides}
    async with database.places(workload.key) as place, AsyncExitStack() as stack:
        measures: dict[str, Measure] = {}
        for name, side in sides.items():
            measures[name] = await stack.enter_async_context(side(place(name), scale))
        if scale.name != "tiny":
            for measure in measures.values():  # the first time is for warming up
                await measure()
        for _ in range(scale.rounds):
            for name, measure in measures.items():
                gc.collect()
                gc.freeze()  # what the benchmark itself keeps shall not slow down anybody's garbage collection
                taken[name].append(await measure())
    return [_outcome(workload, figure, taken) for figure in range(len(workload.goals))]


def _outcome(workload: Workload, index: int, taken: dict[str, list[Figures]]) -> Outcome:
    goal = workload.goals[index]

    def figures(name: str) -> tuple[float, ...]:
        return tuple(round_[goal.figure] for round_ in taken[name] if goal.figure in round_)

    peers = {name: figures(name) for name in taken if name not in ("diptych", "twin")}
    return Outcome(workload, goal, figures("diptych"), figures("twin"), peers)


async def run_all(
    workloads: Sequence[Workload], scale: Scale, database: Database, *, with_peers: bool, tell: Callable[[str], None]
) -> list[Outcome]:
    """Run workloads one after the other."""
    outcomes: list[Outcome] = []
    for workload in workloads:
        begun = time.perf_counter()
        outcomes += await run(workload, scale, database, with_peers=with_peers)
        tell(f"{time.perf_counter() - begun:6.1f} s  {workload.key}: {workload.title}")
    return outcomes
