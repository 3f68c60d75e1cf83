"""How answers are written: a table for people, tab-separated values for pipes, JSON for programs.

Rule: stdout is data, stderr is talk.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

_STYLES: Final = {
    "caught up": "green", "parked": "red", "stopped": "red", "frozen": "red", "stuck": "red",
    "behind": "yellow", "paused": "yellow", "not running": "yellow",
    "OK": "green", "KO": "red", "could not check": "yellow",
}  # fmt: skip
_LEAST: Final = 24  # columns that the last one, where the free text stands, needs to be read


def talk(sentence: str) -> None:
    """Say something to the person at the terminal; no program reads it."""
    print(sentence, file=sys.stderr, flush=True)


def show(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Write rows: as JSON when asked, as a table on a terminal, as TSV with a header line in a pipe."""
    if as_json:
        print(json.dumps([dict(row) for row in rows], indent=2, default=str))
    elif sys.stdout.isatty():
        _table(columns, rows)
    else:
        print("\t".join(columns))
        for row in rows:
            print("\t".join(_plain(row.get(column)) for column in columns))


def is_coloured() -> bool:
    """Whether colour is wanted on stdout: a terminal that knows it, and no NO_COLOR (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def age(seconds: float) -> str:
    """A time span as a person says it: `20 ms`, `3.5 s`, `3 min`, `2 h`, `5 d`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}" if seconds < 10 else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"


def _plain(value: Any) -> str:
    text = "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
    return text.replace("\t", " ").replace("\n", " ")


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table, its last column wrapped where there is no room; one block per row where there is none at all."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    shown = [[_plain(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(text) for text in (name, *cells)) for name, *cells in zip(columns, *shown, strict=True)]
    is_narrow = sum(widths[:-1]) + min(widths[-1], _LEAST) + 3 * len(columns) > console.width
    if is_narrow:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        numeric = [bool(rows) and all(isinstance(row.get(name), int | float) for row in rows) for name in columns]
        for name, is_number in zip(columns, numeric, strict=True):
            is_last = name == columns[-1]
            justify: Literal["left", "right"] = "right" if is_number else "left"
            table.add_column(name.replace("_", " "), justify=justify, no_wrap=not is_last, overflow="fold")
    for row, cells in zip(rows, shown, strict=True):
        texts = [Text(cell, style=_style(row.get(name))) for name, cell in zip(columns, cells, strict=True)]
        if is_narrow:
            for name, text in zip(columns, texts, strict=True):
                table.add_row(name.replace("_", " "), text)
            table.add_row()
        else:
            table.add_row(*texts)
    console.print(table)


def _style(value: Any) -> str:
    return _STYLES.get(str(value), "")
