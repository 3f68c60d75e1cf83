"""Code that has never heard of Diptych is no finding; `./run campaign outside` fetches whole services for that."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.campaigns.outside import look


@pytest.mark.parametrize("name", ["fastapi", "starlette", "httpx", "anyio", "typer", "sqlglot"])
def test_nothing_is_found_in_a_library(name: str) -> None:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    looked = look(name, Path(spec.origin).parent)
    assert looked.files > 5
    assert looked.findings == []
