"""`diptych db copy`: asks, shows how far it is, and says what was compared.

Rule: what is copied, and in which order, is `store/copying.py`.
"""

import asyncio
from collections.abc import Sequence

import typer

from diptych.cli.output import show, talk
from diptych.cli.progress import Bars
from diptych.cli.projection_acts import REFUSED, is_sure
from diptych.errors import ConfigurationError
from diptych.store.batches import ProjectionTables
from diptych.store.opening import open_stores, path_of, shown


def move(
    source: str,
    target: str,
    projections: Sequence[ProjectionTables] | None,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Copy, compare, and print what both sides have. :raises DiptychError: and the same command goes on from there."""
    path = path_of(source)
    if path is None:
        raise ConfigurationError(
            f"{shown(source)} is no file. Write: diptych db copy sqlite:///shop.db postgresql://..."
        )
    open_stores(target)  # says what is wrong with the URL, or that the driver is missing
    from diptych.store.copying import copy, ends_of

    ends_of(source, target)
    _ask(path, target, projections, yes=yes or dry_run)
    if dry_run:
        return
    report = Bars()
    try:
        moved = asyncio.run(copy(source, target, projections or (), report.tell))
    except KeyboardInterrupt:
        talk("Interrupted. What was copied is kept; to go on: the same command again.")
        raise
    finally:
        report.stop()
    lines = [
        {"what": what, "source": ours, "target": theirs, "same": ours == theirs} for what, ours, theirs in moved.lines
    ]
    if not moved.was_done or as_json:
        show(("what", "source", "target", "same"), lines, as_json=as_json)
    for sentence in moved.left_out:
        talk(f"left to be built again by the service: {sentence}")
    how = "was moved before" if moved.was_done else "was moved, every stream is the same on both sides"
    talk(f"{path} {how}; it takes no appends any more. Start the service with {shown(target)}")


def _ask(path: str, target: str, projections: Sequence[ProjectionTables] | None, *, yes: bool) -> None:
    from diptych.store.sqlite.moving import SourceFile

    with SourceFile(path) as source:
        counts = source.counts()
    talk(f"{path} has {counts.events:,} events of {counts.streams:,} streams and {counts.commands:,} command ids.")
    if projections is None:
        talk("Its read models will be built again by the service: name the app (--app) to move them.")
        talk("What its sagas and reactions owe would be left behind: with any, name the app (--app).")
    else:
        talk(f"The rows of {len(projections)} projections, sagas and reactions move too.")
    if not is_sure(f"It will be moved to {shown(target)}, and {path} will never be appended to again.", yes):
        raise typer.Exit(REFUSED)
