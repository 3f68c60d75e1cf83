"""start: what `import diptych` costs, and that it loads no driver, no FastAPI and no typer.

Beside what every asynchronous program with one pydantic model pays, for milliseconds are a matter of the machine.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory

from benchmarks.place import Place
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload

_HEAVY = ("apsw", "asyncpg", "sqlite3", "fastapi", "starlette", "uvicorn", "typer", "rich", "jinja2", "sqlglot")
_SCRIPT = """
import sys, time
begun = time.perf_counter()
{statement}
taken = (time.perf_counter() - begun) * 1000
print(taken, sum(name in sys.modules for name in {heavy!r}))
"""
_FLOOR = """
import asyncio
from pydantic import BaseModel, Field, TypeAdapter
class First(BaseModel):
    pass
"""


async def _import(statement: str, folder: str) -> Figures:
    """Import in a new interpreter, from bytecode as an installed package is: the first time only compiles."""
    script = _SCRIPT.format(statement=statement, heavy=_HEAVY)
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", script]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
    output, _ = await child.communicate()
    taken, heavy = output.split()
    return {"import": float(taken), "drivers": float(heavy)}


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """In a new interpreter each time."""
    with TemporaryDirectory() as folder:

        async def measure() -> Figures:
            return await _import("import diptych; diptych.App, diptych.Aggregate, diptych.Projection", folder)

        yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """What any asynchronous service with pydantic pays: asyncio, pydantic, and its first model."""
    with TemporaryDirectory() as folder:

        async def measure() -> Figures:
            return await _import(_FLOOR, folder)

        yield measure


WORKLOADS = (
    Workload(
        "start",
        "import diptych",
        (
            Goal("import", "ms", 1.5),
            Goal("drivers", "loaded", 0, kind="absolute"),
        ),
        diptych,
        twin,
        versus="floor",
        stores=("sqlite",),
    ),
)
