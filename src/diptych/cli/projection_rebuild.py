"""`diptych projection rebuild`: the preview, processes that build, progress, the comparison, and the question.

Rule: the work is `projections/rebuilding.py`; here is what is typed, started and said.
"""

import asyncio
from typing import NamedTuple

from diptych.app.operating import Operator, operating
from diptych.cli.discovery import Found, find
from diptych.cli.output import age, show, talk
from diptych.cli.projection_acts import INTERRUPTED, REFUSED, is_dry, is_sure
from diptych.cli.projection_builders import in_processes
from diptych.cli.rates import Rates
from diptych.projections.previewing import Preview, preview
from diptych.projections.rebuilding import Rebuild, Rebuilt
from diptych.store.generations import Comparison, Generation
from diptych.store.opening import log_from_outside


class Choices(NamedTuple):
    """What was typed."""

    jobs: int
    compare: bool
    swap: bool
    swap_anyway: bool
    reason: str
    yes: bool
    dry_run: bool


def rebuild(said: str | None, name: str, choices: Choices) -> int:
    """Rebuild a projection; returns the exit code."""
    found = find(said)
    try:
        return asyncio.run(_rebuild(found, name, choices))
    except KeyboardInterrupt:
        talk(f"\nInterrupted; what is built is kept. Go on with: diptych projection rebuild {name}")
        return INTERRUPTED


async def _rebuild(found: Found, name: str, choices: Choices) -> int:
    async with operating(found.app, name) as operator:
        async with log_from_outside(found.app.url) as log:
            expected = await preview(operator.subject, log)
        _foretell(name, expected)
        if is_dry(choices.dry_run, "Nothing is done."):
            return 0
        if not is_sure(f"{name} will be built again beside the rows that are read.", choices.yes):
            return REFUSED
        rates = Rates(name)
        verdict = _Verdict(operator, choices, rates)
        try:
            rebuild = Rebuild(operator.subject, in_processes(found, name, choices.jobs), rates.tell)
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

    def __init__(self, operator: Operator, choices: Choices, rates: Rates) -> None:
        self._operator, self._choices, self._rates = operator, choices, rates
        self.why_not: str | None = None

    async def decide(self, old: Generation | None, new: Generation, comparison: Comparison | None) -> bool:
        """Say what differs; rows may differ where the code did."""
        self._rates.stop()
        tables = self._operator.subject.definition.tables
        is_same = old is not None and old.fits(tables) and old.code == tables.code
        if comparison is not None:
            _tell_comparison(self._operator.name, comparison)
            if not comparison.is_equal and is_same and not self._choices.swap_anyway:
                self.why_not = "rows differ, though the code did not change: look which are right"
        elif old is not None and self._choices.compare:
            talk(f"{self._operator.name}: the two did not come to one position, and are not compared.")
            if is_same and not self._choices.swap_anyway:
                self.why_not = "it is not compared, though the code did not change"
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
    parked = (
        f" {done.parked} keys are parked in it; once that is mended: diptych projection retry {name}"
        if done.parked
        else ""
    )
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
    talk(f"{name} is read from generation {new}.{back}{parked}")
    return 0
