"""`diptych db`: the verbs about where a service keeps its data.

Rule: nothing but typer is imported before a verb is called, so that `--help` is fast.
"""

import sys
from typing import Annotated, Any

import typer

from diptych.errors import ConfigurationError, OtherHistoryError, StoreMovedError

db = typer.Typer(help="Make, upgrade and move the database of a service.", no_args_is_help=True, rich_markup_mode=None)

Place = Annotated[
    str | None,
    typer.Argument(
        metavar="APP|URL", help="An app (shop/main.py), or the URL of a store; else found.", show_default=False
    ),
]
AppOption = Annotated[
    str | None, typer.Option("--app", envvar="DIPTYCH_APP", help="The app whose read models move, too.")
]
Schema = Annotated[str | None, typer.Option(envvar="DIPTYCH_SCHEMA", help="The schema, instead of the URL's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@db.command()
def upgrade(place: Place = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Bring a store to what this version knows.

    With an app also the tables of its read models: those that have another shape than the code says are made anew, and
    the service builds them from the first event on. Run it as the owner of the schema.
    """
    import asyncio

    from diptych.cli.output import show, talk
    from diptych.store.opening import shown
    from diptych.store.upgrading import Upgraded, pending
    from diptych.store.upgrading import upgrade as bring_up

    url, projections = _store_of(place)
    done = (
        Upgraded(asyncio.run(pending(url)), [])
        if dry_run
        else asyncio.run(bring_up(url, projections["async"], projections["inline"]))
    )
    what = "would be applied" if dry_run else "applied"
    rows = [
        {
            "part": part,
            "found": found,
            "now": found if dry_run else known,
            "known": known,
            "done": _done(found, known, what),
        }
        for part, found, known in done.steps
    ]
    if not as_json:
        talk(shown(url))
    show(("part", "found", "now", "known", "done"), rows, as_json=as_json)
    for name in done.anew:
        talk(f"{name} will be built from the first event on when the service starts")


@db.command()
def sql(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="Of which store; else PostgreSQL.", show_default=False)
    ] = None,
    schema: Schema = None,
) -> None:
    """Print the SQL that makes a store from nothing, as it would run. Nothing is connected."""
    from diptych.store.upgrading import script

    sys.stdout.write(script(url, schema))


@db.command()
def grants(
    schema: Annotated[str, typer.Option(envvar="DIPTYCH_SCHEMA", help="The schema of the service.")] = "diptych",
    owner: Annotated[str | None, typer.Option(help="Who may change tables. [default: SCHEMA_owner]")] = None,
    writer: Annotated[str | None, typer.Option(help="Who appends. [default: SCHEMA_writer]")] = None,
    projector: Annotated[str | None, typer.Option(help="Who keeps read models. [default: SCHEMA_projector]")] = None,
    reader: Annotated[str | None, typer.Option(help="Who reads them. [default: SCHEMA_reader]")] = None,
) -> None:
    """Print the roles of a PostgreSQL schema and their rights. Nothing is connected."""
    from diptych.store.upgrading import roles_script

    sys.stdout.write(roles_script(schema, owner=owner, writer=writer, projector=projector, reader=reader))


@db.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The file: sqlite:///shop.db")],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="The server: postgresql://user@host/database?schema=shop")
    ],
    app: AppOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Move a store from a file to a server.

    The service may go on while most is copied; for the last piece the file is closed, for good. Interrupted or killed,
    the same command goes on. Read models move too, if the app is found or named; else they are built again.
    """
    from diptych.cli.db_copy import move

    try:
        move(source, target, _projections_of(app), yes=yes, dry_run=dry_run, as_json=as_json)
    except (OtherHistoryError, StoreMovedError) as error:
        print(f"diptych: {error}", file=sys.stderr)
        raise typer.Exit(3) from error


@db.command()
def verify(
    place: Place = None,
    app: AppOption = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="Fold each projection again and compare every row. It takes its time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Audit a store: positions, versions, checksums, checkpoints. Exit 1 with findings.

    It may run beside the service, changes nothing, and needs no more memory for a larger log. Without an app, by a URL,
    projections are not looked at.
    """
    from diptych.cli.db_verify import audit
    from diptych.cli.discovery import find

    named = app if place is None or _is_url(place) else place
    found = None if place is not None and _is_url(place) and app is None else find(named).app
    url = place if place is not None and _is_url(place) else found.url if found is not None else ""
    raise typer.Exit(audit(url, found, rows=rows, as_json=as_json))


def _is_url(place: str) -> bool:
    return ":/" in place or place == "memory:"


def _done(found: int, known: int, what: str) -> str:
    if found == known:
        return "nothing to do"
    first = found + 1
    return f"{what}: {known}" if first == known else f"{what}: {first} to {known}"


def _store_of(place: str | None) -> tuple[str, dict[str, list[Any]]]:
    """Return a URL, and the tables of the app's projections by mode, none if the URL was said itself."""
    if place is not None and _is_url(place):
        return place, {"async": [], "inline": []}
    from diptych.cli.discovery import find

    app = find(place).app
    return app.url, _tables(app)


def _projections_of(said: str | None) -> list[Any] | None:
    """The tables of all projections of the app; None when none was named and none is found."""
    from diptych.cli.discovery import find

    try:
        app = find(said).app
    except ConfigurationError:
        if said is not None:
            raise
        return None
    return [tables for some in _tables(app).values() for tables in some]


def _tables(app: Any) -> dict[str, list[Any]]:
    from diptych.app.known_duties import known_duties
    from diptych.projections.definition import define_all

    modes = {cls: mode for module in app.everything() for cls, mode in module.projected.items()}
    definitions, problems = define_all(modes.items()), list[str]()
    found = {mode: [one.tables for one in definitions if one.mode == mode] for mode in ("async", "inline")}
    found["inline"] += [one.kept for one in known_duties(app.everything(), problems)]  # what they owe is beside the log
    if problems:
        raise ConfigurationError(problems)
    return found
