"""`diptych projection pause|resume|retry|skip|rollback|accept|drop`: each says what it will touch, and what it did.

Rule: one act each; a refusal names the command that would do.
"""

import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import typer

from diptych.app.finding import asked
from diptych.app.operating import Operator, check_known, operating
from diptych.cli.discovery import find
from diptych.cli.output import talk
from diptych.cli.spans import seconds
from diptych.store.batches import ParkedEvent
from diptych.store.leases import Request

T = TypeVar("T")

INTERRUPTED = 130
REFUSED = 3
PARTLY = 4
_IN_VAIN = ("stays parked", "stays as it is", "not left out", "is gone")


def pause(said: str | None, name: str, span: str | None, *, reason: str, dry_run: bool) -> None:
    """Have it stand."""
    so_long = None if span is None else seconds(span)
    until = "until `diptych projection resume`" if so_long is None else f"for {span}"
    if not is_dry(dry_run, f"{name} would stand {until}.", said, name):
        _act(said, name, lambda operator: operator.pause(so_long, reason))
        talk(f"{name} stands {until}. Go on with: diptych projection resume {name}")


def resume(said: str | None, name: str, *, reason: str, dry_run: bool) -> None:
    """Have it go on."""
    if not is_dry(dry_run, f"{name} would go on.", said, name):
        _act(said, name, lambda operator: operator.resume(reason))
        talk(f"{name} goes on.")


def retry(said: str | None, name: str, key: str, *, reason: str, within: str, dry_run: bool) -> int:
    """Have what is parked applied; return 0 if all was, 4 if some stays parked, 1 if nobody answered."""
    events = [one for one in _parked(said, name) if key in ("", one.key)]
    what = f"{len(events)} parked events of {len({one.key for one in events})} keys"
    if is_dry(dry_run, f"{name} would try {what} again, and go on if it stopped."):
        return 0
    patience = seconds(within)
    done = _act(said, name, lambda operator: operator.ask("retry", key=key, reason=reason, within=patience))
    return _told(name, done)


def rebuild_key(said: str | None, name: str, key: str, *, reason: str, within: str, yes: bool, dry_run: bool) -> int:
    """Have the rows of one key folded again; the codes are those of `retry`."""
    id, what = asked(key).id, f"The rows of {key} in {name}"
    if is_dry(dry_run, f"{what} would be folded again from all of its events.", said, name):
        return 0
    if not is_sure(f"{what} will be folded again from all of its events, by the owner of its lane.", yes):
        return REFUSED
    patience = seconds(within)
    return _told(name, _act(said, name, lambda operator: operator.rebuild_key(id, reason, patience)))


def skip(said: str | None, name: str, position: int, *, reason: str, within: str, yes: bool, dry_run: bool) -> int:
    """Have an event left out for ever; the codes are those of `retry`."""
    parked = _parked(said, name)
    keys = {one.key for one in parked if one.position == position}
    waiting = sum(one.key in keys for one in parked) - len(keys)
    what = f"{name} will never have the event at position {position}; {waiting} events wait behind it"
    if is_dry(dry_run, f"{what}.") or not is_sure(f"{what}. Its rows will lack it.", yes):
        return 0 if dry_run else REFUSED
    patience = seconds(within)

    async def act(operator: Operator) -> Sequence[Request]:
        return await operator.ask("skip", position=position, reason=reason, within=patience)

    return _told(name, _act(said, name, act))


def rollback(said: str | None, name: str, to: int | None, *, reason: str, yes: bool, dry_run: bool) -> None:
    """Have an earlier generation read again."""
    chosen = "the last generation that was kept" if to is None else f"generation {to}"
    if is_dry(dry_run, f"{name} would be read from {chosen}.", said, name):
        return
    if not is_sure(f"{name} will be read from {chosen}, whose rows are as old as they were left.", yes):
        raise typer.Exit(REFUSED)
    old, new = _act(said, name, lambda operator: operator.rollback(to, reason))
    talk(
        f"{name} is read from generation {new.number}. Back again: diptych projection rollback {name} --to {old.number}"
    )


def accept(said: str | None, name: str, *, reason: str, dry_run: bool) -> None:
    """Take the rows for what the code of today would make."""
    if not is_dry(dry_run, f"The rows of {name} would be taken for what its code of today makes.", said, name):
        live = _act(said, name, lambda operator: operator.accept(reason))
        talk(f"{name}: generation {live.number} is accepted.")


def drop(said: str | None, name: str, number: int, *, reason: str, yes: bool, dry_run: bool) -> None:
    """Drop a generation that is not read."""
    if is_dry(dry_run, f"Generation {number} of {name} would be dropped.", said, name):
        return
    if not is_sure(f"Generation {number} of {name} will be gone for good.", yes):
        raise typer.Exit(REFUSED)
    _act(said, name, lambda operator: operator.drop(number, reason))
    talk(f"Generation {number} of {name} is dropped.")


def _act(said: str | None, name: str, act: Callable[[Operator], Awaitable[T]]) -> T:
    app = find(said).app

    async def run() -> T:
        async with operating(app, name) as operator:
            return await act(operator)

    return asyncio.run(run())


def _parked(said: str | None, name: str) -> list[ParkedEvent]:
    """Return the events that are parked, each once, though what is read and what is built may both have parked it."""
    parked = _act(said, name, lambda operator: operator.parked())
    found = {one.position: one for events in parked.values() for one in events}
    return [found[position] for position in sorted(found)]


def _told(name: str, done: Sequence[Request]) -> int:
    missing = [one for one in done if not one.outcome]
    for outcome in dict.fromkeys(one.outcome for one in done if one.outcome and not _is_nothing(one)):
        print(outcome)
    if missing:
        talk(
            f"{len(missing)} of {len(done)} lanes of {name} did not answer in time. It is done when their owner is "
            f"there, a worker or a rebuild that goes on: diptych projection show {name}"
        )
        return 1
    if all(_is_nothing(one) for one in done):
        talk(f"Nothing of {name} is parked.")
    return PARTLY if any(word in one.outcome for one in done for word in _IN_VAIN) else 0


def _is_nothing(one: Request) -> bool:
    return one.outcome == "Nothing is parked here."  # what stood says that it goes on, too


def is_dry(dry_run: bool, sentence: str, said: str | None = None, name: str | None = None) -> bool:
    """Say what would be done, if that is all that is wanted. :raises NotFoundError: there is no such projection."""
    if dry_run:
        if name is not None:
            check_known(find(said).app, name)
        talk(sentence)
    return dry_run


def is_sure(sentence: str, yes: bool) -> bool:
    """Ask, where somebody is there to be asked; else it has to be said with --yes."""
    if yes:
        return True
    if not sys.stdin.isatty():
        talk(f"{sentence} Nothing is done. If you are sure: {shlex.join(['diptych', *sys.argv[1:], '--yes'])}")
        return False
    try:
        return typer.confirm(f"{sentence} Go on?", err=True)
    except typer.Abort:
        raise typer.Exit(INTERRUPTED) from None
