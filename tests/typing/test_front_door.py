"""`front_door.py` as pyright sees it; mypy reads it with everything else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_pyright_infers_the_public_api_without_a_plugin() -> None:
    """basedpyright is pyright with its JavaScript and its node inside the wheel, so that nothing is downloaded."""
    pyright = shutil.which("basedpyright", path=str(Path(sys.executable).parent))
    assert pyright is not None
    ran = subprocess.run(
        [pyright, "--project", str(ROOT), "--pythonpath", sys.executable], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
