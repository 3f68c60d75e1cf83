"""Time spans as people type them."""

import re

import typer


def seconds(text: str) -> float:
    """Read a time span: `500ms`, `5s`, `2min`, `1h`; a bare number is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)?", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text} is no time span. Write 500ms, 5s, 2min or 1h.")
    return float(match[1]) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600}[match[2] or "s"]
