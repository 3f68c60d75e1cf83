"""The options that verbs which act on what is kept have in common.

Rule: nothing but typer is imported, so that `--help` is fast.
"""

from typing import Annotated

import typer


def _said(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("Say why: it is what those who look at it later have.")
    return reason


AppOption = Annotated[str | None, typer.Option("--app", envvar="DIPTYCH_APP", help="Where the app is; else found.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Reason = Annotated[str, typer.Option(envvar="DIPTYCH_REASON", help="Why; it is written down.")]
Why = Annotated[str, typer.Option("--reason", callback=_said, help="Why; it is written down.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", envvar="DIPTYCH_YES", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Within = Annotated[str, typer.Option(envvar="DIPTYCH_WITHIN", help="How long to wait for the owners: 10s.")]
ForSpan = Annotated[str | None, typer.Option("--for", help="Go on by itself after so long: 10min.")]
