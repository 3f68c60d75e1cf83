"""`diptych reaction`: look at reactions, publications and inboxes, and mend what failed.

Rule: what is typed and what is said; the acts are `app/duty_operating.py`.
"""

from typing import Annotated

import typer

from diptych.cli.options import AppOption, AsJson, DryRun, ForSpan, Reason, Why, Within, Yes

reaction = typer.Typer(
    help="Look at reactions, publications and inboxes; mend what failed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The reaction, publication or inbox.", show_default=False)]


@reaction.command("list")
def list_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this one.", show_default=False)] = "",
    app: AppOption = None,
    as_json: AsJson = False,
) -> None:
    """List them: how far, what waits, what is tried again, what is parked. Exit 1 when one needs somebody."""
    from diptych.app.known_duties import REACTIONS
    from diptych.cli.duty_looks import list_duties

    raise typer.Exit(list_duties(app, REACTIONS, name, as_json=as_json))


@reaction.command()
def show(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Only of this key.", show_default=False)] = "",
    app: AppOption = None,
    as_json: AsJson = False,
) -> None:
    """Tell what became of events and messages: done, waiting for another try, parked, skipped."""
    from diptych.cli.duty_looks import show_reaction

    raise typer.Exit(show_reaction(app, name, key, as_json=as_json))


@reaction.command()
def pause(
    name: Name,
    app: AppOption = None,
    span: ForSpan = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Have it stand: nothing is taken in and nothing begun, timers wait; commands and queries go on."""
    from diptych.app.known_duties import REACTIONS
    from diptych.cli.duty_acts import Choices
    from diptych.cli.duty_acts import pause as act

    act(app, REACTIONS, name, span, Choices(reason, dry_run=dry_run))


@reaction.command()
def resume(name: Name, app: AppOption = None, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Have a paused one go on."""
    from diptych.app.known_duties import REACTIONS
    from diptych.cli.duty_acts import Choices
    from diptych.cli.duty_acts import resume as act

    act(app, REACTIONS, name, Choices(reason, dry_run=dry_run))


@reaction.command()
def retry(
    name: Name,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Only this key; else all that is parked.", show_default=False)
    ] = "",
    app: AppOption = None,
    reason: Reason = "",
    within: Within = "10s",
    dry_run: DryRun = False,
) -> None:
    """Have what is parked tried again, in order; once the bug is mended and deployed.

    Exit 0 when all went well, 4 when some stays parked, 1 when nobody answered.
    """
    from diptych.app.known_duties import REACTIONS
    from diptych.cli.duty_acts import Choices
    from diptych.cli.duty_acts import retry as act

    raise typer.Exit(act(app, REACTIONS, name, key, Choices(reason, within, dry_run=dry_run)))


@reaction.command()
def skip(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The parked key.", show_default=False)],
    reason: Why,
    app: AppOption = None,
    within: Within = "10s",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Leave what failed out for ever, and go on with what waits behind it."""
    from diptych.app.known_duties import REACTIONS
    from diptych.cli.duty_acts import Choices
    from diptych.cli.duty_acts import skip as act

    raise typer.Exit(act(app, REACTIONS, name, key, Choices(reason, within, yes=yes, dry_run=dry_run)))
