"""A primary with one synchronous standby: what it acknowledged is on both before anybody is told.

Rule: a standby that is not in sync is never promoted, unless the test says that it was cut off.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.postgres import USER, Server

_NAME: Final = "standby"
_KEEPS_LOG: Final = ("wal_keep_size=256MB", "wal_receiver_status_interval=1s", "hot_standby_feedback=off")
_PATIENCE: Final = 30.0


class Standby(Server):
    """A copy of a running server, which follows it until it is promoted."""

    def __init__(self, primary: Server, port: int | None = None) -> None:
        self._primary, self._wanted_port = primary, port
        follows = f"host={primary.folder} port={primary.port} user=postgres application_name={_NAME}"
        following = (f"primary_conninfo={follows}", "wal_retrieve_retry_interval=100ms")
        super().__init__(is_durable=True, settings=(*_KEEPS_LOG, *following))

    def _make(self) -> None:
        self.port = self._wanted_port or self.port
        source = ["-h", str(self._primary.folder), "-p", str(self._primary.port), "-U", "postgres"]
        copy = [str(self._bin / "pg_basebackup"), *source, "-D", str(self.data), "-X", "stream", "-c", "fast"]
        done = subprocess.run(
            [*copy, "--no-sync"], capture_output=True, text=True, check=False, cwd=self.folder, user=USER
        )
        if done.returncode != 0:
            raise RuntimeError(f"pg_basebackup failed: {done.stderr[-1000:]}")
        (self.data / "standby.signal").touch()


class Pair:
    """Two servers. `primary` and `standby` change their places with every fail-over."""

    def __init__(self) -> None:
        self.primary: Server = Server(is_durable=True, settings=_KEEPS_LOG)
        self.standby: Server = self.primary
        try:
            self.add_standby()
        except BaseException:
            self.remove()
            raise

    def url(self, *, schema: str = "diptych", options: str = "") -> str:
        """The URL of a schema in whichever of the two takes writes."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in (self.primary, self.standby))
        return f"postgresql://postgres@{hosts}/postgres?schema={schema}{options}"

    def add_standby(self, port: int | None = None) -> None:
        """Copy the primary, and return when commits wait for the copy."""
        self.standby = Standby(self.primary, port)
        self.primary.query(f"ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 ({_NAME})'")
        self.primary.query("SELECT pg_reload_conf()")
        self.wait_until_in_sync()

    def wait_until_in_sync(self) -> None:
        """Return when the primary says that its standby is synchronous."""
        deadline = time.monotonic() + _PATIENCE
        while self.primary.query("SELECT sync_state FROM pg_stat_replication") != "sync":
            if time.monotonic() > deadline:
                raise RuntimeError(f"the standby is not in sync: {self.standby.log()[-2000:]}")
            time.sleep(0.02)

    def cut_off(self) -> None:
        """Let the standby hear nothing more: from now on the primary confirms no commit."""
        self.standby.kill()

    def fail_over(self) -> None:
        """Kill the primary, with all its sessions, and promote the standby."""
        if self.primary.is_running:
            self.primary.kill()
        if not self.standby.is_running:  # it was cut off, and comes back when the primary is gone
            self.standby.start()
        self.promote()

    def promote(self) -> None:
        """Make the standby take writes, and look at it as the primary; the other one is left as it is.

        It was copied before commits waited for it, so they now wait for nobody, as when Patroni promotes.
        """
        self.standby.query("SELECT pg_promote(false)")  # one that waits may be cancelled by what is replayed meanwhile
        deadline = time.monotonic() + _PATIENCE
        while self.standby.query("SELECT pg_is_in_recovery()") == "t":
            if time.monotonic() > deadline:
                raise RuntimeError(f"the standby was not promoted: {self.standby.log()[-2000:]}")
            time.sleep(0.01)
        self.primary, self.standby = self.standby, self.primary

    def renew(self) -> None:
        """Throw the dead server away and put a copy of the living one in its place, so that the URL stays the same."""
        self.standby.remove()
        self.add_standby(self.standby.port)

    def remove(self) -> None:
        """End both and delete all that they had."""
        self.standby.remove()
        self.primary.remove()


@contextmanager
def running_pair() -> Iterator[Pair]:
    """A pair, gone at the end."""
    pair = Pair()
    try:
        yield pair
    finally:
        pair.remove()
