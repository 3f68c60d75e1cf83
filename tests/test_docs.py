"""What the documentation says is true: every Python block runs, every shown file is the file, every name is told.

A block is run unless the line before it is a comment: `<!-- not run: why -->`, or `<!-- file: path -->` for a block
that shows a whole file and must equal it. The blocks of a page run in order as one program with `await` at top level.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from diptych import errors
from diptych.store.protocols import StoreLimits, StoreSettings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:^<!-- (?P<mark>not run|file): (?P<note>.+?) -->\n)?^```python\n(?P<code>.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")

RUN = """
import ast, asyncio, inspect, pathlib, sys, types
path = sys.argv[1]
code = compile(pathlib.Path(path).read_text(), path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
page = sys.modules["page"] = types.ModuleType("page")

async def main():
    result = eval(code, page.__dict__)
    if inspect.iscoroutine(result):
        await result

asyncio.run(main())
"""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def program(page: Path) -> str:
    """The page's blocks to run, each on the line it has in the page, so that a traceback points there."""
    text = page.read_text()
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if block["mark"] is None:
            first = text.count("\n", 0, block.start("code"))
            code = block["code"].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{page.stem}.py"
    file.write_text(program(page))
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, file.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert ran.returncode == 0, f"{name_of(page)}\n{ran.stdout}{ran.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_that_shows_a_file_equals_it(page: Path) -> None:
    shown = [block for block in BLOCK.finditer(page.read_text()) if block["mark"] == "file"]
    differing = [block["note"] for block in shown if block["code"] != (ROOT / block["note"]).read_text()]
    assert differing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    broken = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert broken == []


def test_every_error_is_told_on_the_page_of_errors() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    classes = [n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.DiptychError)]
    assert [name for name in classes if f"`{name}`" not in page] == []


def test_every_setting_of_the_store_is_told() -> None:
    page = (ROOT / "docs" / "events.md").read_text()
    names = [name for cls in (StoreSettings, StoreLimits) for name in cls._fields if name != "limits"]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_verb_of_the_command_line_is_told() -> None:
    listed = subprocess.run([sys.executable, "-m", "diptych.cli", "--help"], capture_output=True, text=True, check=True)
    verbs = re.findall(r"^[│ ]+ (\w+)  ", listed.stdout, re.M)
    told = "\n".join(page.read_text() for page in PAGES)
    assert len(verbs) >= 4
    assert [verb for verb in verbs if f"diptych {verb}" not in told] == []
