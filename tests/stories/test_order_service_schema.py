"""The order service does what its OpenAPI document says, whatever is sent to it (I1): schemathesis with all checks."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from examples.demo.server import HOST, serving
from examples.orders.main import make_api, make_app

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Served:
    """The order service in memory, served by uvicorn on a thread of its own."""

    def __init__(self) -> None:
        self.url = ""
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="order-service")

    def __enter__(self) -> "Served":
        self._thread.start()
        assert self._up.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving(make_api(make_app("memory:")), 0) as port:
            self.url = f"http://{HOST}:{port}"
            self._up.set()
            await self._stop.wait()


CONFIG = """
seed = 1
[generation]
max-examples = 5
deterministic = true
[checks.positive_data_acceptance]
# done; or a rule, a version (If-Match) or a key used before (422) said no, which no schema can foresee
expected-statuses = ["2xx", 400, 404, 409, 412, 422]
"""


def test_every_answer_is_one_that_the_document_promises(tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG, encoding="utf-8")
    command = Path(sys.executable).with_name("schemathesis")
    with Served() as service:
        ran = subprocess.run(
            [command, "--config-file", config, "run", f"{service.url}/openapi.json", "--checks", "all"],
            check=False,
            capture_output=True,
            text=True,
            timeout=280,
        )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
