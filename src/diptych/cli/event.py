"""`diptych event`: one event, and how many there are of each type.

Rule: nothing but typer is imported before a verb is called, so that `--help` is fast.
"""

from typing import Annotated

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
