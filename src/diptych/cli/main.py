"""The verbs. Exit: 0 ok, 1 found what it looks for, 2 usage or configuration, 3 refused, 4 done in part,
130 interrupted, 141 whoever read the output went away.

Rule: nothing but typer is imported before a verb is called, so that `--help` is fast.
"""

import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from diptych.errors import DiptychError, RebuildRefusedError, SwapRefusedError

try:
    import typer
    from typer.core import TyperGroup
except ImportError as error:
    print("diptych: the command line needs typer and rich. Write: pip install 'diptych[cli]'", file=sys.stderr)
    raise SystemExit(2) from error

READER_WENT_AWAY = 141  # what a shell shows of a program that SIGPIPE ended


class Verbs(TyperGroup):
    """All verbs. What one has written is out before it ends, or it is said that it is not."""

    def invoke(self, ctx: Any) -> object:
        """Run a verb. It ends quietly when whoever read its output has enough, as `head` has."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            _write_no_more()
            raise typer.Exit(READER_WENT_AWAY) from None


cli = typer.Typer(
    name="diptych",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

from diptych.cli.db import db  # noqa: E402 - it needs typer, too
from diptych.cli.event import event  # noqa: E402
from diptych.cli.projection import projection  # noqa: E402
from diptych.cli.reaction import reaction  # noqa: E402
from diptych.cli.saga import saga  # noqa: E402
from diptych.cli.stream import stream  # noqa: E402

cli.add_typer(db, name="db")
cli.add_typer(projection, name="projection")
cli.add_typer(saga, name="saga")
cli.add_typer(reaction, name="reaction")
cli.add_typer(event, name="event")
cli.add_typer(stream, name="stream")


class Only(StrEnum):
    """A half of what a process does."""

    WEB = "web"
    WORKERS = "workers"


AppPlace = Annotated[
    str | None,
    typer.Argument(
        metavar="APP", help="A file (shop/main.py) or a module (shop.main:app); else found.", show_default=False
    ),
]
AppOption = Annotated[str | None, typer.Option("--app", envvar="DIPTYCH_APP", help="The same as APP.")]
Host = Annotated[str, typer.Option(envvar="DIPTYCH_HOST", help="The address to listen on; 0.0.0.0 for all.")]
Port = Annotated[int, typer.Option(envvar="DIPTYCH_PORT", help="The port to listen on.", min=1, max=65535)]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"diptych {version('diptych')}")
        raise typer.Exit


@cli.callback()
def diptych(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Commands change one side, queries read the other, events are the hinge."""


@cli.command()
def dev(place: AppPlace = None, app: AppOption = None, host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Serve in development mode; reload on change."""
    os.environ["DIPTYCH_MODE"] = "development"
    from diptych.cli.discovery import find
    from diptych.cli.serving import serve

    serve(find(place or app), host=host, port=port, reload=True)


@cli.command()
def run(
    place: AppPlace = None,
    app: AppOption = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(envvar="DIPTYCH_WORKERS", help="How many processes.", min=1)] = 1,
    only: Annotated[
        Only | None,
        typer.Option(
            envvar="DIPTYCH_ONLY", help="web: answer, and run no projections. workers: run them, and no more."
        ),
    ] = None,
) -> None:
    """Serve in production mode.

    With --only workers nothing is served: the projections are worked on until SIGTERM, which lets go of them first.
    """
    os.environ["DIPTYCH_MODE"] = "production"
    from diptych.cli.discovery import find

    if only is Only.WORKERS:
        from diptych.cli.working import work

        raise typer.Exit(work(find(place or app), workers))
    from diptych.cli.serving import serve

    serve(find(place or app), host=host, port=port, workers=workers, answers_only=only is Only.WEB)


@cli.command()
def status(
    place: AppPlace = None,
    app: AppOption = None,
    as_json: AsJson = False,
    fail_lag: Annotated[
        str | None,
        typer.Option(envvar="DIPTYCH_FAIL_LAG", help="Exit 1 when a projection lags longer: 5s, 2min."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until interrupted.")] = False,
) -> None:
    """Say how far each projection is.

    Exit 1 when one is parked or over the limit. Starts nothing and changes nothing.
    """
    from diptych.cli.discovery import find
    from diptych.cli.spans import seconds
    from diptych.cli.status import look_on, report

    limit = None if fail_lag is None else seconds(fail_lag)
    if watch:
        look_on(find(place or app).app, limit=limit, as_json=as_json)
    raise typer.Exit(report(find(place or app).app, limit=limit, as_json=as_json))


@cli.command()
def describe(place: AppPlace = None, app: AppOption = None, as_json: AsJson = False) -> None:
    """List what is wired, and where."""
    from diptych.cli.describe import describe as tell
    from diptych.cli.discovery import find

    tell(find(place or app).app, as_json=as_json)


@cli.command()
def doctor(place: AppPlace = None, app: AppOption = None, as_json: AsJson = False) -> None:
    """Check what the service stands on.

    Versions, files or server, settings, rights, clocks. Each check is OK, KO with what mends it, or could not be made.
    Exit 1 when one is KO. Changes nothing.
    """
    from diptych.cli.discovery import find
    from diptych.cli.doctor import examined

    raise typer.Exit(examined(find(place or app).app, as_json=as_json))


class Form(StrEnum):
    """How findings are written."""

    FULL = "full"
    CONCISE = "concise"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"
    GITLAB = "gitlab"
    JUNIT = "junit"


class Base(StrEnum):
    """What is done with the baseline."""

    WRITE = "write"
    PRUNE = "prune"


@cli.command()
def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATHS", help="Files and folders; else all below.")
    ] = None,
    select: Annotated[list[str] | None, typer.Option(help="Only these: DP104, or a family, DP1.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Not these.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How findings are written.")] = Form.FULL,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without changing any meaning.")] = False,
    unsafe_fixes: Annotated[bool, typer.Option("--unsafe-fixes", help="Mend also what may change it.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what would be mended, and change nothing.")] = False,
    base: Annotated[
        Base | None, typer.Option("--baseline", help="Write what is known, or take out what is mended.")
    ] = None,
    app: AppOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Look at every file anew.")] = False,
) -> None:
    """Hold the rules of the architecture against source code.

    Exit 1 when something is found. `diptych rule DP303` tells more of one.
    """
    from diptych.cli.check import Asked
    from diptych.cli.check import run as run_check

    fixes = "unsafe" if unsafe_fixes else "safe" if fix else ""
    how = Asked(tuple(select or ()), tuple(ignore or ()), form.value, fixes, diff, base.value if base else "")
    raise typer.Exit(run_check(paths or [], how, app=app, is_cached=not no_cache))


@cli.command()
def rule(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="Such as DP303; else all are listed.")] = None,
) -> None:
    """Tell of a rule of `diptych check`.

    Why it is one, and code that is wrong and right.
    """
    from diptych.cli.rule import tell

    tell(id)


@cli.command()
def trace(
    id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A command, correlation or event id, a Diptych-Position, or a position.",
            show_default=False,
        ),
    ],
    app: AppOption = None,
    limit: Annotated[int, typer.Option(help="How many positions to look through, the newest first.", min=1)] = 100_000,
    since: Annotated[str | None, typer.Option(help="Look at nothing older: 2026-11-23T10:00Z.")] = None,
    as_json: AsJson = False,
) -> None:
    """Follow a conversation from one of its ids.

    Its commands, their events, what those caused, and which projections have them.
    """
    from diptych.cli.event_looks import follow

    follow(app, id, limit=limit, since=since, as_json=as_json)


def main() -> None:
    """Run the command line: an error of ours or of the disk is one sentence on stderr, never a stack trace."""
    try:
        cli()
    except DiptychError as error:
        print(f"diptych: {error}", file=sys.stderr)
        sys.exit(3 if isinstance(error, RebuildRefusedError | SwapRefusedError) else 2)
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"diptych: {told}. Mend that, and type the same again.", file=sys.stderr)
        _write_no_more()
        sys.exit(2)


def _write_no_more() -> None:
    """Have what is still to be written go nowhere: at its end the interpreter would try again, and complain."""
    with suppress(OSError):  # it may be no file at all, where a test took its place
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
