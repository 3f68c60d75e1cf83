"""`diptych db verify`: runs the audit, shows how far it is, and prints what it found.

Rule: what is checked is `store/auditing.py`, `app/verifying.py` and `projections/refolding.py`.
"""

import asyncio
from typing import Final

from diptych.app.application import App
from diptych.app.verifying import verify
from diptych.cli.output import show, talk
from diptych.cli.progress import Bars
from diptych.store.auditing import AT_MOST
from diptych.store.opening import shown

COLUMNS: Final = ("invariant", "position", "finding")
_COUNTED: Final = ("events", "streams", "commands", "checkpoints", "rows")


def audit(url: str, app: App | None, *, rows: bool, as_json: bool) -> int:
    """Verify, and write a line for each finding; return 1 when there is one, else 0."""
    bars = Bars()
    try:
        done = asyncio.run(verify(url, app, bars.tell, rows=rows))
    finally:
        bars.stop()
    findings, left_out, read = done.audited
    lines = [dict(zip(COLUMNS, finding, strict=True)) for finding in findings]
    if lines or as_json:
        show(COLUMNS, lines, as_json=as_json)
    for invariant, more in sorted(left_out.items()):
        talk(f"{invariant}: the first {AT_MOST} findings are listed, and there are {more:,} more")
    for sentence in done.not_checked:
        talk(f"not checked: {sentence}")
    went_through = ", ".join(f"{read[what]:,} {what}" for what in _COUNTED if read[what] or what == "events")
    count = len(findings) + left_out.total()
    talk(f"{shown(url)}: {went_through}: {count or 'no'} finding{'' if count == 1 else 's'}")
    return 1 if count else 0
