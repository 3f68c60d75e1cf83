"""Which generations of a projection a process works on, given its code.

Rule: pure. A generation is worked on only by code that fits it; what else there is stays as it is.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from diptych.store.batches import ProjectionTables
from diptych.store.generations import Generation
from diptych.store.leases import Board, Worker

OnChange = Literal["rebuild", "freeze"]
"""What becomes of rows that other code made: they are built again beside the old ones, or stay as they are."""


class Choice(NamedTuple):
    """`live` is what is read; `is_fitting`: this code may work on it; `is_readable`: its tables look as this code says.

    `builds`: a generation for this code is to be made beside it. `why` says what is wrong when neither is so.
    """

    live: Generation | None
    is_fitting: bool
    is_readable: bool
    builds: bool
    why: str | None = None


def choose(
    tables: ProjectionTables,
    generations: Sequence[Generation],
    on_change: OnChange,
    *,
    is_development: bool = False,
    is_taken: bool = False,
) -> Choice:
    """Choose among the generations of one projection. `is_taken`: another living worker works on the live one.

    A generation that was kept and is of this code was left on purpose: by a roll-back, or by newer code beside which
    this one still runs. So it is not built again; in development it is, unless that newer code is there now.
    """
    live = next((one for one in generations if one.state == "live"), None)
    if live is None:
        return Choice(None, False, True, False, f"{tables.name} has no rows in this store")
    may_build = on_change == "rebuild"
    kept = [one for one in generations if one.state == "kept" and one.fits(tables)]
    if live.fits(tables):
        is_left = is_taken and any(is_same_code(one.code, tables.code) for one in kept)
        has_changed = not is_same_code(live.code, tables.code)
        return Choice(live, True, True, may_build and is_development and has_changed and not is_left)
    builds = may_build and (not kept or (is_development and not is_taken))
    why = None if builds else _why(live, tables, [one.number for one in kept])
    return Choice(live, False, live.shape == tables.shape, builds, why)


def built_by_others(tables: ProjectionTables, board: Board, worker: str = "") -> Sequence[tuple[Generation, Worker]]:
    """Return the generations that other code builds of a projection, each with somebody alive, not `worker`, at it.

    To begin one for this code drops them, and their code may drop it in turn, for ever.
    """
    return [
        (one, other)
        for one in board.generations
        for other in board.workers
        if one.projection == tables.name and one.state == "building" and one.number in other.takes
        if other.id != worker and not (one.fits(tables) and is_same_code(one.code, tables.code))
    ]


def is_same_code(one: str, other: str) -> bool:
    """Whether two hashes are of the same code, as far as they tell: of two versions of Python they tell nothing."""
    return one == other or one.partition(":")[0] != other.partition(":")[0]


def _why(live: Generation, tables: ProjectionTables, kept: Sequence[int]) -> str:
    name, what = tables.name, f"the rows of {tables.name} were made by version {live.version} of other code"
    if live.version == tables.version:
        what = f"the rows of {name} have another shape than this code"
    back = f", or `diptych projection rollback {name}` for generation {kept[-1]}, which this code made" if kept else ""
    return f"{what} and stay as they are. Type `diptych projection rebuild {name}`{back}."


def stopped_build(name: str, live: Generation, trouble: str) -> str:
    """Say that what is built beside the rows that are read does not get on."""
    return (
        f"the rows of {name} are built again for this code, and that stopped: {trouble.rstrip('. ')}. Generation "
        f"{live.number} is read meanwhile. Mend the code, and start `diptych run` again. If the code is right, type "
        f"`diptych projection retry {name}`, or `diptych projection skip {name} POSITION --reason WHY`."
    )


def may_not_build(choice: Choice, name: str) -> Choice:
    """Return what is left of a choice where this process has no right to make tables."""
    why = (
        f"the rows of {name} were made by other code, and the user of this process may not make new ones beside them. "
        f"Type `diptych projection rebuild {name}` as the owner of the schema."
    )
    return choice._replace(builds=False, why=why)


def cannot_build(choice: Choice, name: str, trouble: str) -> Choice:
    """Return the choice of a process whose store cannot make tables now; it is tried again."""
    why = f"the rows of {name} were made by other code, and cannot be built again yet: {trouble.rstrip('. ')}"
    return choice._replace(why=f"{why}. It is tried again.")
