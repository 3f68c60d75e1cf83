"""`diptych doctor`: each check with OK, with KO and what mends it, or with why it could not be made."""

import asyncio
from collections import Counter
from typing import Final

from diptych.app.application import App
from diptych.app.doctor import examine
from diptych.cli.output import show, talk
from diptych.store.health import Check, Result

COLUMNS: Final = ("check", "result", "detail", "fix")


def examined(app: App, *, as_json: bool) -> int:
    """Write a line for each check; return 1 when one is KO, else 0."""

    async def all_of_it() -> list[Check]:
        return [check async for check in examine(app)]

    checks = asyncio.run(all_of_it())
    lines = [
        {"check": name, "result": result.value, "detail": detail, "fix": fix or None}
        for name, result, detail, fix in checks
    ]
    show(COLUMNS, lines, as_json=as_json)
    counts = Counter(check.result for check in checks)
    talk(", ".join(f"{counts[result]} {result.value}" for result in Result))
    return 1 if counts[Result.KO] else 0
