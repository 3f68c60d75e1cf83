"""`diptych event`: one event, those that have something in common, and how many there are of each type.

Rule: nothing but typer is imported before a verb is called, so that `--help` is fast.
"""

from typing import Annotated
from uuid import UUID

import typer

event = typer.Typer(help="Look at events.", no_args_is_help=True, rich_markup_mode=None)

AppOption = Annotated[str | None, typer.Option("--app", envvar="DIPTYCH_APP", help="A file or module; else found.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


@event.command("show")
def show_event(
    which: Annotated[str, typer.Argument(metavar="POSITION|EVENT_ID|TOKEN", show_default=False)],
    app: AppOption = None,
    as_json: AsJson = False,
) -> None:
    """Say everything about one event. Exit 1 when the code cannot read it."""
    from diptych.cli.event_looks import show_one

    raise typer.Exit(show_one(app, which, as_json=as_json))


@event.command("search")
def search_events(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="A piece of the payload as it is stored.", show_default=False)
    ] = "",
    types: Annotated[list[str] | None, typer.Option("--type", help="Of this stored name; may be repeated.")] = None,
    stream: Annotated[str, typer.Option(help="Of this stream (order/UUID, UUID) or category (order).")] = "",
    user: Annotated[str | None, typer.Option(help="Of commands of this user.")] = None,
    correlation: Annotated[
        UUID | None, typer.Option(help="Of this conversation: its id, or that of the command that began it.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Recorded then or later: 2026-11-23T10:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Recorded then or before.")] = None,
    limit: Annotated[int, typer.Option(help="How many events at most, the newest first.", min=1)] = 100,
    depth: Annotated[int, typer.Option(help="How many positions to look through.", min=1)] = 1_000_000,
    app: AppOption = None,
    as_json: AsJson = False,
) -> None:
    """Find events that have something in common.

    The newest come first, payloads brought up to date. There is no index: it says how far it looked. Exit 1 when the
    code cannot read one.
    """
    from diptych.app.searching import Bounds, Wanted
    from diptych.cli.event_search import find_events
    from diptych.cli.looking import microseconds

    times = (microseconds(since), microseconds(until))
    wanted = Wanted(types or (), stream, correlation, user, text, *times)
    raise typer.Exit(find_events(app, wanted, Bounds(limit, depth), as_json=as_json))


@event.command()
def stats(app: AppOption = None, as_json: AsJson = False) -> None:
    """Count the events by type and schema version. It reads the whole log. Exit 1 when the code does not know one."""
    from diptych.cli.event_looks import count

    raise typer.Exit(count(app, as_json=as_json))


@event.command()
def lock(app: AppOption = None) -> None:
    """Write down what events look like, in events.lock. Exit 1 when what may be stored could not be read."""
    from diptych.cli.event_lock import write_down

    raise typer.Exit(write_down(app))


@event.command()
def asyncapi(
    app: AppOption = None,
    title: Annotated[str, typer.Option(help="What the service is called.")] = "",
    version: Annotated[str, typer.Option(help="Of what it tells and hears.")] = "1.0.0",
) -> None:
    """Write what is published and consumed as an AsyncAPI 3.0 document, in JSON."""
    import json

    from diptych.app.contracts import asyncapi_of
    from diptych.cli.discovery import find

    print(json.dumps(asyncapi_of(find(app).app, title=title, version=version), indent=2, ensure_ascii=False))
