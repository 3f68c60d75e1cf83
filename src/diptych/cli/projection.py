"""`diptych projection`: look at projections, and act on them.

Rule: what is typed and what is said; the acts are `app/operating.py` and `projections/rebuilding.py`.
"""

from typing import Annotated

import typer

from diptych.cli.options import AppOption, AsJson, DryRun, ForSpan, Reason, Why, Within, Yes

projection = typer.Typer(
    help="Look at projections, rebuild them, mend what failed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The projection.", show_default=False)]


@projection.command("list")
def list_(app: AppOption = None, as_json: AsJson = False) -> None:
    """List them: state, generation, lag, lanes and workers. Exit 1 when one needs somebody."""
    from diptych.cli.projection_looks import list_all

    raise typer.Exit(list_all(app, as_json=as_json))


@projection.command()
def show(name: Name, app: AppOption = None, as_json: AsJson = False) -> None:
    """Tell all of one: lanes and owners, generations, parked keys with their errors, what was asked and done."""
    from diptych.cli.projection_looks import show_one

    raise typer.Exit(show_one(app, name, as_json=as_json))


@projection.command()
def pause(
    name: Name,
    app: AppOption = None,
    seconds: ForSpan = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Have it stand where it is; commands and queries go on, and say how old the answers are."""
    from diptych.cli.projection_acts import pause as act

    act(app, name, seconds, reason=reason, dry_run=dry_run)


@projection.command()
def resume(name: Name, app: AppOption = None, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Have a paused one go on."""
    from diptych.cli.projection_acts import resume as act

    act(app, name, reason=reason, dry_run=dry_run)


@projection.command()
def retry(
    name: Name,
    app: AppOption = None,
    key: Annotated[str, typer.Option(help="Only this parked key (a stream's id).")] = "",
    reason: Reason = "",
    within: Within = "10s",
    dry_run: DryRun = False,
) -> None:
    """Apply what is parked, in order, or go on where it stopped; once the bug is mended and deployed.

    Exit 0 when all went well, 4 when some stay parked, 1 when nobody answered.
    """
    from diptych.cli.projection_acts import retry as act

    raise typer.Exit(act(app, name, key, reason=reason, within=within, dry_run=dry_run))


@projection.command()
def skip(
    name: Name,
    position: Annotated[
        int,
        typer.Argument(
            metavar="POSITION", help="Of the event to leave out for ever.", min=1, max=2**63 - 1, show_default=False
        ),
    ],
    reason: Why,
    app: AppOption = None,
    within: Within = "10s",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Leave one failing event out for ever, and go on with what waits behind it."""
    from diptych.cli.projection_acts import skip as act

    raise typer.Exit(act(app, name, position, reason=reason, within=within, yes=yes, dry_run=dry_run))


@projection.command()
def rollback(
    name: Name,
    app: AppOption = None,
    to: Annotated[int | None, typer.Option(help="This generation; else the last that was kept.")] = None,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Read the rows of an earlier generation again. They are as old as they were left, and catch up."""
    from diptych.cli.projection_acts import rollback as act

    act(app, name, to, reason=reason, yes=yes, dry_run=dry_run)


@projection.command()
def accept(
    name: Name,
    reason: Why,
    app: AppOption = None,
    dry_run: DryRun = False,
) -> None:
    """Say that its rows are what the changed code would make, so that nobody asks for a rebuild any more."""
    from diptych.cli.projection_acts import accept as act

    act(app, name, reason=reason, dry_run=dry_run)


@projection.command()
def drop(
    name: Name,
    generation: Annotated[
        int, typer.Argument(metavar="GENERATION", help="Its number, as `show` tells.", min=1, show_default=False)
    ],
    app: AppOption = None,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Drop a generation that is not read: one that was kept, or whose build was given up."""
    from diptych.cli.projection_acts import drop as act

    act(app, name, generation, reason=reason, yes=yes, dry_run=dry_run)


@projection.command()
def rebuild(
    name: Name,
    app: AppOption = None,
    key: Annotated[str, typer.Option(help="Only the rows of this key (a stream's id), at once.")] = "",
    jobs: Annotated[
        int, typer.Option(envvar="DIPTYCH_JOBS", help="Processes that build; of an isolated one.", min=1)
    ] = 2,
    compare: Annotated[bool, typer.Option(help="Compare the rows at one position before they are read.")] = True,
    swap: Annotated[bool, typer.Option(help="Have the new rows read when all is well.")] = True,
    swap_anyway: Annotated[bool, typer.Option(help="Also when rows of the same code differ.")] = False,
    reason: Reason = "",
    within: Within = "10s",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Build its rows again beside those that are read, compare, and swap. Queries go on all the while.

    Interrupted or killed, it goes on where it was when it is started again. Exit 3 when rows differ that should not.
    With --key the worker that has it folds that key again; exit 4 when it could not, 1 when nobody answered.
    """
    if key:
        from diptych.cli.projection_acts import rebuild_key

        raise typer.Exit(rebuild_key(app, name, key, reason=reason, within=within, yes=yes, dry_run=dry_run))
    from diptych.cli.projection_rebuild import Choices
    from diptych.cli.projection_rebuild import rebuild as act

    if swap_anyway and not swap:
        raise typer.BadParameter("--swap-anyway and --no-swap exclude each other. Leave one of them out.")
    choices = Choices(jobs, compare, swap, swap_anyway, reason, yes, dry_run)
    raise typer.Exit(act(app, name, choices))


@projection.command(hidden=True)
def build(
    name: Name,
    generation: Annotated[int, typer.Option(min=1)],
    lanes: Annotated[str, typer.Option()],
    upto: Annotated[int, typer.Option(min=0)],
    app: AppOption = None,
) -> None:
    """Build some lanes of a generation: what `rebuild` starts in processes of their own."""
    from diptych.cli.projection_builders import build as act

    act(app, name, generation, [int(lane) for lane in lanes.split(",")], upto)
