"""How answers are written: a table for people, tab-separated values for pipes, JSON for programs.

Rule: stdout is data, stderr is talk.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


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
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numeric = {column for column in columns if rows and all(isinstance(row.get(column), int | float) for row in rows)}
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right" if column in numeric else "left")
    for row in rows:
        table.add_row(*(Text(_plain(row.get(column)), style=_style(row.get(column))) for column in columns))
    Console().print(table)


def _style(value: Any) -> str:
    return {"running": "green", "parked": "red", "stopped": "red", "behind": "yellow"}.get(str(value), "")
