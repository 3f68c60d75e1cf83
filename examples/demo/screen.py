"""What is shown while the demonstration runs: the two panels of a diptych, the projections, and the news.

Rule: only looks; what it shows is handed in.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from diptych.app.status import Status
from examples.demo.counting import MODELS
from examples.demo.tally import Tally

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything there is to show at one time."""

    status: Status
    rows: Sequence[int]
    tally: Tally
    seconds_left: float | None


@dataclass(slots=True)
class Pace:
    """How fast a count grows: over the last two seconds, and in bars of half a second."""

    _samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=64))

    def note(self, count: int) -> None:
        """Take a sample."""
        self._samples.append((monotonic(), count))

    @property
    def now(self) -> float:
        """How many a second, lately."""
        recent = [sample for sample in self._samples if sample[0] >= monotonic() - 2]
        if len(recent) < 2:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / max(0.001, recent[-1][0] - recent[0][0])

    @property
    def bars(self) -> str:
        """The last samples as a row of bars."""
        counts = [count for _, count in self._samples]
        steps = [later - earlier for earlier, later in pairwise(counts)][-26:]
        most = max(steps, default=0) or 1
        return "".join(_BARS[min(7, step * 8 // (most + 1))] for step in steps)


class Screen:
    """Makes one picture of each moment."""

    def __init__(self, url: str, database: str) -> None:
        self._url, self._database = url, database
        self._commands, self._queries = Pace(), Pace()

    def note(self, moment: Moment) -> None:
        """Remember the counts, for their pace."""
        self._commands.note(moment.tally.commands)
        self._queries.note(moment.tally.queries)

    def picture(self, moment: Moment) -> RenderableType:
        """Draw everything."""
        left = "" if moment.seconds_left is None else f"{moment.seconds_left:.0f} s to go · "
        return Panel(
            Group(
                Text.from_markup(f"[bold]{self._url}/docs[/]   [dim]events in {self._database}[/]"),
                Text(),
                self._panels(moment),
                self._projections(moment),
                *(_one_line(f"  {line}") for line in self._news(moment)),
            ),
            title="[bold]Diptych[/] · the order service",
            subtitle=f"[dim]{left}Ctrl-C ends it[/]",
            box=ROUNDED,
            border_style="blue",
            padding=(1, 2),
            width=100,
        )

    def line(self, moment: Moment) -> str:
        """Say it in one line, for a pipe or a log."""
        lag = max((one.lag_seconds for one in moment.status.projections), default=0.0)
        tally = moment.tally
        return (
            f"{self._commands.now:5.0f} commands/s  {self._queries.now:5.0f} queries/s  {tally.commands:,} commands  "
            f"{sum(tally.refused.values()):,} refused  {moment.status.head:,} events  lag {lag:.3f} s"
        )

    def _panels(self, moment: Moment) -> RenderableType:
        hinge = Table.grid(expand=True, padding=(0, 1, 0, 0))
        hinge.add_column(ratio=1)
        hinge.add_column(ratio=1)
        hinge.add_row(self._write_side(moment), self._read_side(moment))
        return hinge

    def _write_side(self, moment: Moment) -> RenderableType:
        tally = moment.tally
        refused = sum(tally.refused.values())
        return _panel(
            "commands",
            "green",
            [
                (f"[bold green]{self._commands.now:,.0f}[/] a second", self._commands.bars),
                (f"{tally.commands:,} done", f"{refused:,} refused by the domain"),
                (f"{moment.status.head:,} events", ""),
            ],
        )

    def _read_side(self, moment: Moment) -> RenderableType:
        tally = moment.tally
        return _panel(
            "queries",
            "magenta",
            [
                (f"[bold magenta]{self._queries.now:,.0f}[/] a second", self._queries.bars),
                (f"{tally.queries:,} answered", f"{tally.stale:,} stale"),
                (f"{sum(moment.rows):,} rows", ""),
            ],
        )

    def _projections(self, moment: Moment) -> RenderableType:
        table = Table(box=SIMPLE_HEAD, expand=True, header_style="dim", padding=(0, 1))
        table.add_column("projection")
        for name in ("rows", "position", "behind", "lag"):
            table.add_column(name, justify="right")
        table.add_column("")
        rows = dict(zip((model.__name__ for model in MODELS), moment.rows, strict=True))
        for one in moment.status.projections:
            colour = "green" if one.state == "running" else "red"
            lag = f"[yellow]{one.lag_seconds:.3f} s[/]" if one.lag_seconds > 0.5 else f"{one.lag_seconds:.3f} s"
            shown = sum(count for name, count in rows.items() if _table(name) in one.tables)
            table.add_row(
                one.name, f"{shown:,}", f"{one.position:,}", f"{one.lag_events:,}", lag, f"[{colour}]{one.state}[/]"
            )
        return table

    def _news(self, moment: Moment) -> list[str]:
        news = list(moment.tally.news)
        return news + [""] * (8 - len(news))


def _one_line(markup: str) -> Text:
    line = Text.from_markup(markup, overflow="ellipsis")
    line.no_wrap = True
    return line


def _panel(title: str, colour: str, lines: Sequence[tuple[str, str]]) -> Panel:
    rows = []
    for first, second in lines:
        grid = Table.grid(expand=True, padding=(0, 1, 0, 0))  # one each: a long second part takes nothing from a first
        grid.add_column(no_wrap=True, min_width=len(Text.from_markup(first)))
        grid.add_column(justify="right", style="dim", no_wrap=True, ratio=1)
        grid.add_row(first, second)
        rows.append(grid)
    return Panel(Group(*rows), title=f"[{colour}]{title}[/]", title_align="left", border_style="dim", padding=(0, 1))


def _table(model: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in model).lstrip("_")
