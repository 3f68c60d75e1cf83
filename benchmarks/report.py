"""The table a person reads, and the JSON a script reads."""

import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from statistics import median
from typing import TextIO

from benchmarks.workload import Outcome, Scale

_GATE = 0.7  # a quick run on a noisy machine fails only below this share of the goal


def number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if isnan(value):  # the twin has no such figure
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def rows(outcomes: Sequence[Outcome], peers: Sequence[str]) -> list[list[str]]:
    """Return the table's cells, header first."""
    table = [["", "workload", "figure", "diptych", "twin", "", "ratio", "target", "", *peers]]
    for outcome in outcomes:
        goal, workload = outcome.goal, outcome.workload
        table.append(
            [
                workload.key,
                workload.title,
                f"{goal.figure} {goal.unit}".strip(),
                number(median(outcome.diptych)),
                number(median(outcome.twin)) if outcome.twin else "-",
                workload.versus,
                f"{outcome.ratio:.2f}",
                str(goal),
                outcome.verdict,
                *(number(median(taken)) if (taken := outcome.peers.get(peer)) else "-" for peer in peers),
            ]
        )
    return table


def show(outcomes: Sequence[Outcome], out: TextIO) -> None:
    """Print the table: with rich where it is installed, else with spaces."""
    peers = sorted({peer for outcome in outcomes for peer in outcome.peers})
    header, *body = rows(outcomes, peers)
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(len(row[place]) for row in [header, *body]) for place in range(len(header))]
        for row in [header, *body]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=out)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, title in enumerate(header):
        table.add_column(title, justify="right" if place in (3, 4, 6) or place > 8 else "left", no_wrap=place != 1)
    for row in body:
        colour = {"ok": "green", "MISS": "red"}.get(row[8], "default")
        table.add_row(*row[:8], f"[{colour}]{row[8]}[/]", *row[9:])
    console = Console(file=out)
    if not console.is_terminal:
        console = Console(file=out, width=150)
    console.print(table)


def write(path: Path, outcomes: Sequence[Outcome], scale: Scale, machine: dict[str, object]) -> None:
    """Write everything measured, every round of it, as JSON."""
    figures = [
        {
            "workload": outcome.workload.key,
            "title": outcome.workload.title,
            "figure": outcome.goal.figure,
            "unit": outcome.goal.unit,
            "diptych": outcome.diptych,
            "twin": outcome.twin,
            "versus": outcome.workload.versus,
            "peers": dict(outcome.peers),
            "ratio": None if isnan(outcome.ratio) else round(outcome.ratio, 4),
            "target": str(outcome.goal) or None,
            "attained": round(outcome.attained, 4),
            "verdict": outcome.verdict,
        }
        for outcome in outcomes
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"scale": scale.name, **machine, "figures": figures}, indent=2) + "\n")


def exit_code(outcomes: Sequence[Outcome], scale: Scale) -> int:
    """Return 1 when a goal is missed; a quick run forgives up to 30 % for a noisy machine, a tiny one everything."""
    gate = {"tiny": 0.0, "quick": _GATE}.get(scale.name, 1.0)
    return int(any(outcome.attained < gate for outcome in outcomes))
