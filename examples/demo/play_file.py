"""Imports a file and shows how far it is; then compares the read side with the file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from diptych import App
from examples.demo import talk
from examples.demo.checking import compare
from examples.demo.importing import Import
from examples.demo.lines import Invoice, read_invoices

_CATCH_UP: float = 120.0


async def play_file(app: App, path: Path, console: Console) -> tuple[bool, Sequence[Invoice]]:
    """Import a file. Says whether everything adds up and matches. :raises FileError: it cannot be read."""
    started = monotonic()
    invoices = read_invoices(path)
    lines = sum(len(invoice.lines) for invoice in invoices)
    console.print(f"[bold]{path.name}[/]: {lines:,} lines on {len(invoices):,} invoices")
    before = (await app.status()).head
    with _Bars(console) as bars:
        importing = Import(app.commands, invoices, bars.step)
        bars.expect(importing.sizes)
        report = await importing.run()
        await app.caught_up(_CATCH_UP)
    talk.print_report(console, report, monotonic() - started)
    after = (await app.status()).head
    console.print(f"The log had {before:,} events before and has {after:,} now.")
    comparisons = await compare(invoices, app.queries)
    console.print(talk.comparison_table(comparisons))
    return report.is_complete and not any(one.differences for one in comparisons), invoices


class _Bars:
    """A bar for each kind of step on a terminal; elsewhere a line every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console, self._said = console, monotonic()
        self._bars = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def expect(self, sizes: Mapping[str, int]) -> None:
        """Say how many steps there will be of each kind."""
        self._tasks = {what: self._bars.add_task(what, total=size) for what, size in sizes.items()}

    def step(self, what: str, count: int) -> None:
        """Note that so many were done."""
        task = self._tasks[what]
        self._bars.update(task, advance=count)
        if not self._console.is_terminal and monotonic() - self._said > 5:
            self._said = monotonic()
            done = self._bars.tasks[task]
            self._console.print(f"{what}: {done.completed:,.0f} of {done.total:,.0f}")
