"""Time spans as people type them."""

import re
from typing import Final

import typer

_LONGEST: Final = 100 * 365 * 24 * 3600  # seconds


def seconds(text: str) -> float:
    """Read a time span: `500ms`, `5s`, `2min`, `1h`; a bare number is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)?", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text} is no time span. Write 500ms, 5s, 2min or 1h.")
    span = float(match[1]) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600}[match[2] or "s"]
    if span > _LONGEST:  # no store could keep when that ends
        raise typer.BadParameter(f"{text} is too long a time span. Write {_LONGEST // 3600}h at most.")
    return span
