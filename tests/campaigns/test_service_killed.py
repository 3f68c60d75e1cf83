"""A story: the order service is killed again and again while people order, and nobody can tell afterwards."""

from pathlib import Path
from random import Random

import pytest

from tests.campaigns.service import kill_under_load

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


async def test_a_killed_service_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """X1, L1, C1, P1: kill -9 of the whole process at random times, under load, three times."""
    shoppers = await kill_under_load(tmp_path, 3, Random(1))

    assert len(shoppers.orders) > 20
    assert shoppers.repeated > 0
