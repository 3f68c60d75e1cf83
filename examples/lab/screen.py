"""What a lab shows while it waits: how each projection is, and who works on it.

Rule: only looks; what it shows is handed in.
"""

from collections import Counter
from collections.abc import Sequence

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from diptych.app.status import ProjectionStatus, Status
from examples.demo.screen import Pace
from examples.demo.tally import Tally


class Screen:
    """Makes one picture, or one line, of each moment."""

    def __init__(self, url: str, database: str, tally: Tally) -> None:
        self._title, self._tally = f"[bold]{url}/docs[/]   [dim]events in {database}[/]", tally
        self._commands = Pace()

    def picture(self, status: Status) -> RenderableType:
        """Draw everything."""
        self._commands.note(self._tally.commands)
        pace = f"[bold green]{self._commands.now:,.0f}[/] commands a second, {status.head:,} events in the log"
        return Panel(
            Group(Text.from_markup(self._title), Text.from_markup(pace), _table(status.projections)),
            title="[bold]Diptych[/] · the lab",
            subtitle="[dim]Ctrl-C ends it[/]",
            box=ROUNDED,
            border_style="blue",
            padding=(1, 2),
            width=100,
        )

    def line(self, status: Status) -> str:
        """Say it in one line, for a pipe or a log."""
        one = parcels(status)
        return (
            f"{status.head:,} events; parcels is {one.state} at position {one.position:,}, "
            f"{one.lag_seconds:.1f} s behind, generation {one.generation}, lanes {owners(one)}, {one.parked} parked"
        )


def parcels(status: Status) -> ProjectionStatus:
    """Return the projection that is broken."""
    return next(one for one in status.projections if one.name == "parcels")


def owners(one: ProjectionStatus) -> str:
    """Say how many lanes each worker has: `8 + 8`."""
    counted = Counter(lane.owner for lane in one.lanes if lane.owner)
    return " + ".join(str(count) for _, count in sorted(counted.items())) or "of nobody"


def _table(projections: Sequence[ProjectionStatus]) -> Table:
    table = Table(box=SIMPLE_HEAD, expand=True, header_style="dim", padding=(0, 1))
    table.add_column("projection")
    for name in ("generation", "position", "behind", "lag", "lanes", "parked"):
        table.add_column(name, justify="right")
    table.add_column("")
    for one in projections:
        colour = "green" if one.state == "running" else "red"
        late = "yellow" if one.lag_seconds > 0.5 else "default"
        numbers = [str(one.generation), f"{one.position:,}", f"{one.lag_events:,}"]
        lag = f"[{late}]{one.lag_seconds:.1f} s[/]"
        table.add_row(one.name, *numbers, lag, owners(one), str(one.parked or ""), f"[{colour}]{one.state}[/]")
    return table
