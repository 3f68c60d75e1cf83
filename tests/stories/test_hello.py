"""The page that a new user reads first, used as they would use it."""

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from tests.urls import url_for

pytestmark = pytest.mark.anyio

HELLO = Path(__file__).parents[2] / "examples" / "hello.py"


def loaded(monkeypatch: pytest.MonkeyPatch, page: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("hello", page)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hello", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


async def test_saying_hello_twice_is_two_greetings(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1: the URL is the only change."""
    page = tmp_path / "hello.py"
    page.write_text(HELLO.read_text(encoding="utf-8").replace("sqlite:///hello.db", url), encoding="utf-8")
    hello = loaded(monkeypatch, page)
    async with hello.app, httpx.AsyncClient(transport=httpx.ASGITransport(hello.api), base_url="http://hello") as web:
        for _ in range(2):
            answer = await web.post("/hello", json={"name": "Ada"})
            assert answer.status_code == 204
        after = {"Diptych-After": answer.headers["Diptych-Position"]}
        assert (await web.get("/guests", headers=after)).json() == [{"name": "Ada", "greetings": 2}]


def test_it_has_at_most_35_lines_of_code() -> None:
    text = HELLO.read_text(encoding="utf-8")
    words: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
                words.update(range(first, last + 1))
    code = [line for at, line in enumerate(text.splitlines(), 1) if line.strip() and at not in words]
    assert len(code) <= 35
