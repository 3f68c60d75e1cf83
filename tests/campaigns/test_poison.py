"""P7: one poisonous event among many, for both kinds of projections, live and in a rebuild, in every way to fail."""

from pathlib import Path
from random import Random

import pytest

from tests.campaigns.poison import Case, poison
from tests.urls import url_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]

_EVENTS = 60
_K = Random(4)


def at(kind: str, harm: str, where: str, end: str) -> Case:
    """A case at a position of chance, the same in every run."""
    return Case(kind, harm, where, end, _K.randrange(1, _EVENTS + 1), _EVENTS)  # type: ignore[arg-type]


CASES = [
    at("jars", "raise", "live", "retry"),
    at("jars", "hang", "live", "skip"),
    at("jars", "exit", "live", "retry"),
    at("sorts", "raise", "live", "skip"),
    at("sorts", "hang", "live", "skip"),
    at("sorts", "exit", "live", "retry"),
    at("jars", "raise", "rebuild", "skip"),
    at("jars", "hang", "rebuild", "retry"),
    at("jars", "exit", "rebuild", "retry"),
    at("sorts", "raise", "rebuild", "retry"),
    at("sorts", "hang", "rebuild", "retry"),
    at("sorts", "exit", "rebuild", "retry"),
]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[:5])))
async def test_a_poisonous_event_is_told_and_mended_and_nothing_else_is_touched(
    url: str, tmp_path: Path, case: Case
) -> None:
    """P7, P1, R1: everything else is applied, health is red, mended it is as if it had never failed."""
    await poison(url, tmp_path, case, Random(case.position))
