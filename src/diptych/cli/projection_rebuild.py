"""`diptych projection rebuild`: the preview, processes that build, progress, the comparison, and the question.

Rule: the work is `projections/rebuilding.py`; here is what is typed, started and said.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from typing import Final, NamedTuple

from diptych.app.application import App
from diptych.app.operating import Operator, operating
from diptych.cli.discovery import Found, find
from diptych.cli.output import age, show, talk
from diptych.cli.projection_acts import REFUSED, is_dry, is_sure
from diptych.cli.rates import Rates
from diptych.projections.backfill import Backfill
from diptych.projections.previewing import Preview, preview
from diptych.projections.rebuilding import Jobs, Rebuild, Rebuilt, in_halves
from diptych.store.generations import Comparison, Generation
from diptych.store.opening import log_from_outside
from diptych.subscriptions.reading import Pace

_PAGE: Final = 5000  # events that a build reads at a time
_INTERRUPTED: Final = 130


class Choices(NamedTuple):
    """What was typed."""

    jobs: int
    compare: bool
    swap: bool
    swap_anyway: bool
    reason: str
    yes: bool
    dry_run: bool


class BuildFailedError(Exception):
    """A process that built some lanes ended before it was done; what it wrote stays."""


def rebuild(said: str | None, name: str, choices: Choices) -> int:
    """Rebuild a projection; returns the exit code."""
    found = find(said)
    try:
        return asyncio.run(_rebuild(found, name, choices))
    except BuildFailedError as error:
        talk(f"diptych: {error}")
        return 1
    except KeyboardInterrupt:
        talk(f"\nInterrupted; what is built is kept. Go on with: diptych projection rebuild {name}")
        return _INTERRUPTED


def build(said: str | None, name: str, generation: int, lanes: Sequence[int], upto: int) -> None:
    """Build some lanes in this process, up to a position."""
    app = find(said).app

    async def run() -> None:
        async with operating(app, name, _pace(app)) as operator, Backfill(operator.subject, generation) as backfill:
            await backfill.take(lanes)
            await backfill.build(upto)

    asyncio.run(run())


async def _rebuild(found: Found, name: str, choices: Choices) -> int:
    async with operating(found.app, name, _pace(found.app)) as operator:
        async with log_from_outside(found.app.url) as log:
            expected = await preview(operator.subject, log)
        _foretell(name, expected)
        if is_dry(choices.dry_run, "Nothing is done."):
            return 0
        if not is_sure(f"{name} will be built again beside the rows that are read.", choices.yes):
            return REFUSED
        rates = Rates(name)
        verdict = _Verdict(operator, choices)
        try:
            rebuild = Rebuild(operator.subject, _in_processes(found, operator, choices.jobs), rates.tell)
            done = await rebuild.run(verdict.decide, compares=choices.compare)
        finally:
            rates.stop()
        return await _conclude(operator, done, verdict, choices)


def _foretell(name: str, expected: Preview) -> None:
    rows = [{"event": kind, "events": count} for kind, count in sorted(expected.events.items())]
    show(("event", "events"), rows, as_json=False)
    speed = "at a speed that cannot be told"
    if expected.seconds is not None:
        speed = f"about {age(expected.seconds)} in one process, at {expected.rate:,.0f} events a second tried just now"
    talk(f"{name}: {expected.head:,} events to read, {speed}; its rows take {expected.bytes / 1e6:,.1f} MB now.")


class _Verdict:
    """Looks at the comparison and says whether to swap; `why_not` is said afterwards."""

    def __init__(self, operator: Operator, choices: Choices) -> None:
        self._operator, self._choices = operator, choices
        self.why_not: str | None = None

    async def decide(self, old: Generation | None, new: Generation, comparison: Comparison | None) -> bool:
        """Say what differs; rows may differ where the code did."""
        tables = self._operator.subject.definition.tables
        is_same = old is not None and old.fits(tables) and old.code == tables.code
        if comparison is not None:
            _tell_comparison(self._operator.name, comparison)
            if not comparison.is_equal and is_same and not self._choices.swap_anyway:
                self.why_not = "rows differ, though the code did not change: look which are right"
        elif old is not None and self._choices.compare:
            talk(f"{self._operator.name}: the two could not be held at one position, and are not compared.")
        if not self._choices.swap:
            self.why_not = "--no-swap was said"
        return self.why_not is None


def _tell_comparison(name: str, comparison: Comparison) -> None:
    rows = [
        {"table": one.table, "rows_old": one.rows[0], "rows_new": one.rows[1], "differing": one.differing}
        for one in comparison.tables
    ]
    talk(f"{name} at position {comparison.positions[0]:,}, old and new:")
    show(("table", "rows_old", "rows_new", "differing"), rows, as_json=False)
    samples = [
        {"table": one.table, "key": ", ".join(map(str, key)), "old": _row(old, new), "new": _row(new, old)}
        for one in comparison.tables
        for key, old, new in one.samples
    ]
    if samples:
        talk("some of the rows that differ:")
        show(("table", "key", "old", "new"), samples, as_json=False)


def _row(one: dict[str, object] | None, other: dict[str, object] | None) -> str:
    """The fields of a row that are not as in the other."""
    if one is None:
        return "no such row"
    fields = one if other is None else {name: value for name, value in one.items() if value != other.get(name)}
    return ", ".join(f"{name}={value}" for name, value in fields.items())


async def _conclude(operator: Operator, done: Rebuilt, verdict: _Verdict, choices: Choices) -> int:
    name, new = operator.name, done.new.number
    parked = f" {done.parked} keys are parked in it: diptych projection show {name}" if done.parked else ""
    if not done.is_swapped:
        talk(
            f"{name}: generation {new} is built and not read: {verdict.why_not}.{parked}\n"
            f"  have it read all the same:  diptych projection rebuild {name} --swap-anyway\n"
            f"  give it up:                 diptych projection drop {name} {new}"
        )
        await operator.rebuilt(choices.reason, f"generation {new} is built and not read: {verdict.why_not}")
        return REFUSED if choices.swap else 0
    await operator.rebuilt(choices.reason, f"generation {new} is read")
    back = "" if done.old is None else f" Back again: diptych projection rollback {name}"
    talk(f"{name} is read from generation {new}.{parked}{back}")
    return 0


def _in_processes(found: Found, operator: Operator, jobs: int) -> Jobs:
    """Return what builds lanes in processes of their own; each ends with this one."""

    async def run(generation: Generation, upto: int) -> None:
        shares = in_halves(generation.lanes, jobs)
        running = [await _start(found, operator.name, generation, lanes, upto) for lanes in shares]
        try:
            said = await asyncio.gather(*(one.communicate() for one in running))
        finally:
            for one in running:
                if one.returncode is None:
                    one.terminate()
                    await one.wait()
        for one, (_, errors) in zip(running, said, strict=True):
            if one.returncode:
                what = errors.decode(errors="replace").strip().removeprefix("diptych: ")
                raise BuildFailedError(
                    f"{operator.name}: {what or f'a process ended with code {one.returncode}.'} What is built is kept; "
                    f"once it is mended: diptych projection rebuild {operator.name}"
                )

    return run


async def _start(found: Found, name: str, generation: Generation, lanes: Sequence[int], upto: int) -> Process:
    numbers = ",".join(map(str, lanes))
    words = ["projection", "build", name, "--generation", str(generation.number)]
    words += ["--lanes", numbers, "--upto", str(upto)]
    command = (sys.executable, "-m", "diptych.cli", *words, "--app", found.target.spelt)
    return await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)


def _pace(app: App) -> Pace:
    return app.tuning.pace._replace(page_events=_PAGE)
