"""S1, S2, S4, P5: workers that carry orders are killed and stopped; every order goes one way, and only once."""

import asyncio
from random import Random

import pytest

from tests.campaigns.sagas import fulfil_under_kills
from tests.campaigns.stores import DATABASES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_every_order_goes_one_way_once(database: str) -> None:
    """The short form of the campaign."""
    with DATABASES[database]() as url:
        found = asyncio.run(fulfil_under_kills(url, 6, Random(1)))
    assert found.orders == 48
    assert found.shipped > 0
    assert found.unpaid > 0
