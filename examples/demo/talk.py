"""What the demonstration says at its end: the figures, where the data is, and what to try."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from diptych.app.status import Status
from examples.demo.checking import Comparison
from examples.demo.importing import GUEST
from examples.demo.report import Report
from examples.demo.tally import Tally


def requests_to_try(url: str, order: str, customer: str) -> list[str]:
    """Three requests: the order, its customer's orders, and one that changes it."""
    json = "-H 'Content-Type: application/json'"
    return [
        f"curl -i {url}/api/v1/orders/{order}",
        f"curl -s '{url}/api/v1/orders?customer_id={customer}&page_size=3'",
        f'curl -i {json} -d \'{{"reason": "second thoughts"}}\' {url}/api/v1/orders/{order}/cancel',
    ]


def print_traffic(console: Console, tally: Tally, status: Status, seconds: float) -> None:
    """Say what the players did."""
    refused = sum(tally.refused.values())
    console.print(
        f"\n[bold green]{tally.commands:,}[/] commands and [bold magenta]{tally.queries:,}[/] queries in "
        f"{seconds:.0f} s; {status.head:,} events in the log. {tally.stale:,} answers were stale."
    )
    reasons = ", ".join(f"{count:,} × {reason}" for reason, count in tally.refused.most_common())
    console.print(f"The domain refused {refused:,}: {reasons}." if refused else "The domain refused nothing.")
    for failure, count in tally.failures.items():
        console.print(f"[bold red]{count} requests failed: {failure}[/]")


def print_next(console: Console, place: str, requests: Sequence[str], command: str | None) -> None:
    """Say where everything is and what to try; `command` starts the service again when it is not running."""
    rows = "" if place.startswith("memory") else ", rows beside it in the file with [bold].views[/] in its name"
    console.print(f"\nEvents are in [bold]{place}[/]{rows}.")
    first = "Three requests to try:" if command is None else f"Start the service again with [bold]{command}[/] and try:"
    console.print(first)
    for request in requests:
        console.print(f"  {request}", style="cyan", markup=False, highlight=False, soft_wrap=True)


def print_report(console: Console, report: Report, seconds: float) -> None:
    """Say what became of the file: accepted and refused make up all of it."""
    done = ", ".join(f"{count:,} {what}" for what, count in report.done.items() if count)
    console.print(f"\nNew: {done or 'nothing'}. Took {seconds:.1f} s.")
    if report.replayed:
        console.print(
            f"[bold]{report.replayed:,}[/] commands had taken effect in an earlier import and were answered as then."
        )
    table = Table(box=SIMPLE_HEAD, header_style="dim", padding=(0, 1))
    for name, justify in (("lines of the file", "left"), ("lines", "right"), ("GBP", "right"), ("", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    table.add_row("accepted", f"{report.accepted_lines:,}", f"{report.accepted_amount:,}", "")
    for reason, refusal in sorted(report.refused.items(), key=lambda pair: -pair[1].lines):
        first = "e.g. " + ", ".join(refusal.first)
        table.add_row(f"refused: {reason}", f"{refusal.lines:,}", f"{refusal.amount:,}", f"[dim]{first}[/]")
    table.add_section()
    mark = "[green]adds up[/]" if report.is_complete else "[bold red]does not add up[/]"
    table.add_row("[bold]the file[/]", f"{report.file_lines:,}", f"{report.file_amount:,}", mark)
    console.print(table)
    console.print(
        f"Of the accepted lines, {report.guest_lines:,} name no customer: they are booked on the customer "
        f"“{GUEST.title()}”. {report.empty_invoices:,} invoices had only refused lines and became nothing."
    )


def comparison_table(comparisons: Sequence[Comparison[object]]) -> RenderableType:
    """Show how the read models compare with the file."""
    table = Table(box=SIMPLE_HEAD, header_style="dim", padding=(0, 1))
    table.add_column("read models against the file")
    table.add_column("compared", justify="right")
    table.add_column("GBP", justify="right")
    table.add_column("")
    notes = []
    for one in comparisons:
        result = "[green]all match[/]" if not one.differences else f"[bold red]{len(one.differences):,} differ[/]"
        table.add_row(one.what, f"{one.compared:,}", f"{one.total:,}", result)
        notes += [Text(f"  {difference}", style="red") for difference in one.differences[:5]]
    return Group(table, *notes)


def trouble(text: str) -> RenderableType:
    """Frame a sentence that says why nothing could be done."""
    return Panel(Text(text), border_style="red", expand=False)
