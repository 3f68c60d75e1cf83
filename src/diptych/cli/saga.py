"""`diptych saga`: look at sagas, and mend what is stuck.

Rule: what is typed and what is said; the acts are `app/duty_operating.py`.
"""

from typing import Annotated

import typer

from diptych.cli.options import AppOption, AsJson, DryRun, ForSpan, Reason, Why, Within, Yes

saga = typer.Typer(help="Look at sagas, and mend those that are stuck.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The saga's class, by its stored name.", show_default=False)]
Key = Annotated[str, typer.Argument(metavar="KEY", help="Which one: the key that its events have.", show_default=False)]


@saga.command("list")
def list_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this one, saga by saga.", show_default=False)] = "",
    stuck: Annotated[bool, typer.Option("--stuck", help="Those that wait for somebody to act.")] = False,
    status: Annotated[str, typer.Option(help="running, completed, compensating, compensated or stuck.")] = "",
    app: AppOption = None,
    as_json: AsJson = False,
) -> None:
    """List them: a line for each class, or for each saga. Exit 1 when one needs somebody."""
    from diptych.cli.duty_looks import list_duties, list_sagas

    if name or stuck or status:
        raise typer.Exit(list_sagas(app, name, "stuck" if stuck else status, as_json=as_json))
    raise typer.Exit(list_duties(app, ("saga",), as_json=as_json))


@saga.command()
def show(name: Name, key: Key, app: AppOption = None, as_json: AsJson = False) -> None:
    """Tell all of one: each step with its cause and what it sent, timers to come, what is to be done or parked."""
    from diptych.cli.saga_show import show_saga

    raise typer.Exit(show_saga(app, name, key, as_json=as_json))


@saga.command()
def pause(
    name: Name,
    app: AppOption = None,
    span: ForSpan = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Have it stand: nothing is taken in and nothing begun, timers wait; commands and queries go on."""
    from diptych.cli.duty_acts import Choices
    from diptych.cli.duty_acts import pause as act

    act(app, ("saga",), name, span, Choices(reason, dry_run=dry_run))


@saga.command()
def resume(name: Name, app: AppOption = None, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Have a paused one go on."""
    from diptych.cli.duty_acts import Choices
    from diptych.cli.duty_acts import resume as act

    act(app, ("saga",), name, Choices(reason, dry_run=dry_run))


@saga.command()
def retry(
    name: Name,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Only this one; else all that are stuck.", show_default=False)
    ] = "",
    app: AppOption = None,
    reason: Reason = "",
    within: Within = "10s",
    dry_run: DryRun = False,
) -> None:
    """Have what is parked tried again, in order; once the bug is mended and deployed.

    Exit 0 when all went well, 4 when some stays parked, 1 when nobody answered.
    """
    from diptych.cli.duty_acts import Choices
    from diptych.cli.duty_acts import retry as act

    raise typer.Exit(act(app, ("saga",), name, key, Choices(reason, within, dry_run=dry_run)))


@saga.command()
def skip(
    name: Name,
    key: Key,
    reason: Why,
    app: AppOption = None,
    within: Within = "10s",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Leave what failed out for ever, and go on with what waits behind it."""
    from diptych.cli.duty_acts import Choices
    from diptych.cli.duty_acts import skip as act

    raise typer.Exit(act(app, ("saga",), name, key, Choices(reason, within, yes=yes, dry_run=dry_run)))
