"""`diptych saga pause|resume|retry|skip`, and those of `diptych reaction`: each says what it will touch, and what came.

Rule: the owner of the lane does it; a refusal names the command that would do.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from diptych.app.duty_operating import DutyOperator, duties_from_outside
from diptych.app.known_duties import DutyKind, KnownDuty, duty_named
from diptych.app.outline import outline
from diptych.cli.discovery import find
from diptych.cli.output import talk
from diptych.cli.projection_acts import PARTLY, REFUSED, is_dry, is_sure
from diptych.cli.spans import seconds
from diptych.errors import NotFoundError
from diptych.store.leases import Request, Verb
from diptych.subscriptions.tasks import PARKED, WAITING, Task, failed_first

T = TypeVar("T")

_NOTHING: Final = ("nothing was put aside", "0 of 0 taken", "0 of 0 left out")
_LOOK: Final = 0.05


class Choices(NamedTuple):
    """How it is done. `within` is how long it may take, as it is typed."""

    reason: str
    within: str = ""
    yes: bool = False
    dry_run: bool = False


class _Came(NamedTuple):
    """What was asked, and what of it failed again."""

    done: Sequence[Request]
    parked: Sequence[Task]


def retry(said: str | None, kinds: Sequence[DutyKind], name: str, key: str, choices: Choices) -> int:
    """Have what is parked tried again; return 0 if all went, 4 if some stays parked, 1 if nobody answered."""
    parked = _parked(said, kinds, name, key)
    if is_dry(choices.dry_run, f"{name} would try {_counted(parked)} again, and go on if it stopped."):
        return 0
    return _told(said, kinds, name, _ask(said, kinds, name, ("retry", key, choices)))


def skip(said: str | None, kinds: Sequence[DutyKind], name: str, key: str, choices: Choices) -> int:
    """Have the first parked thing of a key left out for ever; the codes are those of `retry`."""
    parked = _parked(said, kinds, name, key)
    if not parked:
        raise NotFoundError(f"{name}: nothing of {key} is parked. Look: {_verb(kinds)} list {name}")
    (first,) = failed_first(parked)
    rest = [one for one in parked if one is not first]
    what = f"{name} will never have {first.kind} {first.name} of {key}; {_counted(rest)} wait behind it"
    if is_dry(choices.dry_run, f"{what}."):
        return 0
    if not is_sure(f"{what}. What follows of it will not happen.", choices.yes):
        return REFUSED
    return _told(said, kinds, name, _ask(said, kinds, name, ("skip", key, choices)))


def pause(said: str | None, kinds: Sequence[DutyKind], name: str, span: str | None, choices: Choices) -> None:
    """Have it stand."""
    so_long = None if span is None else seconds(span)
    go_on = f"{_verb(kinds)} resume {name}"
    until = f"until `{go_on}`" if so_long is None else f"for {span}"
    _known(said, kinds, name)
    if not is_dry(choices.dry_run, f"{name} would stand {until}."):
        _act(said, kinds, name, lambda operator, duty: operator.pause(duty, so_long, choices.reason))
        talk(f"{name} stands {until}; what was begun ends. Go on with: {go_on}")


def resume(said: str | None, kinds: Sequence[DutyKind], name: str, choices: Choices) -> None:
    """Have it go on."""
    _known(said, kinds, name)
    if not is_dry(choices.dry_run, f"{name} would go on."):
        _act(said, kinds, name, lambda operator, duty: operator.resume(duty, choices.reason))
        talk(f"{name} goes on.")


def _known(said: str | None, kinds: Sequence[DutyKind], name: str) -> KnownDuty:
    return duty_named(outline(find(said).app).duties, kinds, name)


def _act(
    said: str | None,
    kinds: Sequence[DutyKind],
    name: str,
    act: Callable[[DutyOperator, KnownDuty], Awaitable[T]],
) -> T:
    """Open the store and do this with the duty of that name."""
    app = find(said).app

    async def run() -> T:
        async with duties_from_outside(app) as operator:
            return await act(operator, duty_named(operator.known.duties, kinds, name))

    return asyncio.run(run())


def _parked(said: str | None, kinds: Sequence[DutyKind], name: str, key: str) -> Sequence[Task]:
    known = _known(said, kinds, name)
    if known.kind == "publication":
        raise NotFoundError(
            f"{name} is a publication: it parks nothing, and tries again by itself. Look: {known.verb} list {name}"
        )
    return _act(said, kinds, name, lambda operator, duty: operator.tasks(duty, key, PARKED))


def _ask(said: str | None, kinds: Sequence[DutyKind], name: str, what: tuple[Verb, str, Choices]) -> _Came:
    verb, key, choices = what
    within = seconds(choices.within)

    async def ask(operator: DutyOperator, duty: KnownDuty) -> _Came:
        deadline = time.monotonic() + within
        done = await operator.ask(duty, verb, key, choices.reason, within)
        return _Came(done, await _settled(operator, duty, key, deadline))

    return _act(said, kinds, name, ask)


async def _settled(operator: DutyOperator, duty: KnownDuty, key: str, deadline: float) -> Sequence[Task]:
    """Wait until what was to be tried at once was, and return what failed again: parked, or to be tried once more."""
    while True:
        waiting = [one for one in await operator.tasks(duty, key, WAITING) if one.kind != "timer"]
        if all(one.attempts for one in waiting) or time.monotonic() > deadline:
            return [*await operator.tasks(duty, key, PARKED), *(one for one in waiting if one.error)]
        await asyncio.sleep(_LOOK)


def _told(said: str | None, kinds: Sequence[DutyKind], name: str, came: _Came) -> int:
    missing = [one for one in came.done if not one.outcome]
    for outcome in dict.fromkeys(one.outcome for one in came.done if one.outcome and one.outcome not in _NOTHING):
        print(outcome)
    if missing:
        talk(
            f"{len(missing)} of {len(came.done)} lanes of {name} did not answer in time. It is done when their owner "
            f"is there: {_verb(kinds)} list {name}"
        )
        return 1
    if all(one.outcome in _NOTHING for one in came.done):
        talk(f"Nothing of {name} was parked.")
    if came.parked:
        failed = next((one for one in came.parked if one.error), came.parked[0])
        talk(f"{_counted(came.parked)} failed again, or wait behind; {failed.name} of {failed.key}: {failed.error}")
    return PARTLY if came.parked else 0


def _counted(tasks: Sequence[Task]) -> str:
    keys = len({one.key for one in tasks})
    return f"{len(tasks)} {'task' if len(tasks) == 1 else 'tasks'} of {keys} {'key' if keys == 1 else 'keys'}"


def _verb(kinds: Sequence[DutyKind]) -> str:
    return "diptych saga" if "saga" in kinds else "diptych reaction"
