"""`diptych stream`: a stream, its events, and what its aggregate was then.

Rule: nothing but typer is imported before a verb is called, so that `--help` is fast.
"""

from typing import Annotated

import typer

stream = typer.Typer(help="Look at a stream, its events, its state.", no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[
    str, typer.Argument(metavar="ID", help="order/UUID, tenant/order/UUID, or the UUID alone.", show_default=False)
]
AppOption = Annotated[str | None, typer.Option("--app", envvar="DIPTYCH_APP", help="A file or module; else found.")]
At = Annotated[str | None, typer.Option("--at", help="Up to a version (3) or a time (2026-11-23T10:00Z).")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


@stream.command("show")
def show_stream(id: Id, app: AppOption = None, at: At = None, as_json: AsJson = False) -> None:
    """Say what a stream is: its version, its events by type, when it began and when it changed."""
    from diptych.cli.stream_looks import show_one

    show_one(app, id, at, as_json=as_json)


@stream.command()
def events(
    id: Id,
    app: AppOption = None,
    at: At = None,
    raw: Annotated[bool, typer.Option("--raw", help="Payloads as they are stored, not brought up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the events of a stream, payloads brought up to date. Exit 1 when the code cannot read one."""
    from diptych.cli.stream_looks import list_events

    raise typer.Exit(list_events(app, id, at, raw=raw, as_json=as_json))


@stream.command()
def state(
    id: Id,
    app: AppOption = None,
    at: At = None,
    diff: Annotated[bool, typer.Option("--diff", help="Say what each event changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what an aggregate is, or was then: its events folded by the app's own class."""
    from diptych.cli.stream_looks import show_state

    show_state(app, id, at, diff=diff, as_json=as_json)
