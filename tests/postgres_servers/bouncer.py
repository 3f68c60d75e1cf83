"""PgBouncer in front of a server: transaction pooling, so that a session belongs to nobody."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.postgres import USER, NoPostgresError, Server, end_with_parent, free_port

_PLACES: Final = ("pgbouncer", "/usr/sbin/pgbouncer")


class Bouncer:
    """One PgBouncer on a port of 127.0.0.1, with two connections to the server for any number of clients."""

    def __init__(self, server: Server, *, connections: int = 2) -> None:
        """:raises NoPostgresError: it is not installed."""
        program = next(filter(None, map(shutil.which, _PLACES)), None)
        if program is None:
            raise NoPostgresError("PgBouncer is not installed (Debian: apt install pgbouncer)")
        self.folder = Path(tempfile.mkdtemp(prefix="diptych-bouncer-"))
        self.port = free_port()
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"""[databases]
postgres = host={server.folder} port={server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
ignore_startup_parameters = extra_float_digits, search_path
"""
        )
        if USER is not None:
            for path in (self.folder, settings):
                os.chown(path, pwd.getpwnam(USER).pw_uid, -1)
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, str(settings)],
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it takes no lock that a thread might hold
                cwd=self.folder,
                user=USER,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.remove()
            raise

    def url(self, *, schema: str = "diptych", options: str = "&pgbouncer=true") -> str:
        """The URL of a schema behind it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?schema={schema}{options}"

    def remove(self) -> None:
        """End it and delete its folder."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"PgBouncer did not start: {(self.folder / 'log').read_text()[-2000:]}"
                    ) from error
                time.sleep(0.02)
