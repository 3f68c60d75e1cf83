"""The rules held against code that has never heard of Diptych: no crash, and nothing found."""

import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from diptych.lint.checking import check
from diptych.lint.findings import Finding
from diptych.lint.rules.table import RULES
from diptych.lint.settings import Settings

PROJECTS: Final = ("fastapi-users", "chromadb", "prefect", "litellm", "open-webui")
"""Well-known services that use FastAPI."""


# Ours are left out where nothing is of Diptych; here they are to run, so they go by ids of somebody else.
_NAMED_ANEW: Final = [rule._replace(id=f"OUT{rule.id.removeprefix('DP')}") for rule in RULES]


class Looked(NamedTuple):
    """What came of one project; the seconds are of one core."""

    name: str
    files: int
    seconds: float
    findings: list[Finding]


def look(name: str, folder: Path) -> Looked:
    """Hold every rule that reads source against a folder."""
    begun = time.process_time()
    checked = check([folder], _NAMED_ANEW, Settings(folder.resolve()))
    return Looked(name, len(checked.texts), time.process_time() - begun, checked.findings)


def fetched(folder: Path) -> Iterator[tuple[str, Path]]:
    """Fetch the newest release of each project, as it is published, and unpack it; nothing of it is run."""
    for name in PROJECTS:
        at = folder / name
        words = ["pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(at), name]
        subprocess.run([sys.executable, "-m", *words], check=True)
        for wheel in at.glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(at)
        yield name, at
