"""S1 to S4: whatever the provider does, and whoever is killed, an order is shipped and paid once, or off and undone."""

from pathlib import Path

import pytest

from tests.campaigns.fulfilment import Plan, fulfil
from tests.urls import url_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


async def test_every_order_ends_shipped_and_paid_once_or_cancelled_and_undone(url: str) -> None:
    """S1, S2, S3, S4"""
    told = await fulfil(url, Plan(orders=150))
    assert "150 orders" in told
