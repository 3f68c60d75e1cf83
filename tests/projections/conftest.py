"""What every test of projections leaves as it found it."""

from collections.abc import Iterator

import pytest

from tests.projections import shop
from tests.projections.harmful import Harmful


@pytest.fixture(autouse=True)
def not_mended() -> Iterator[None]:
    """Whatever a test has mended fails the next one again."""
    yield
    shop.Baskets.is_mended = Harmful.is_mended = False
