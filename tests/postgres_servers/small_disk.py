"""A server whose tables lie on a disk of a few megabytes, which can be filled and can be given more space.

Rule: the disk is a tmpfs in a mount namespace of a process of its own, so that it goes when that process does.
"""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

from tests.postgres import NoPostgresError, Server, end_with_parent

_OWNER: Final = "nobody"


class SmallDiskServer(Server):
    """Its write-ahead log lies on the ordinary disk: a full one there ends the whole server (PANIC)."""

    def __init__(self, megabytes: int = 96) -> None:
        """:raises NoPostgresError: nothing can be mounted here; only root may."""
        if os.getuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "setpriv"))):
            raise NoPostgresError("a small disk takes root, and the programs unshare, nsenter and setpriv")
        self._megabytes = megabytes
        self._holder: subprocess.Popen[bytes] | None = None
        super().__init__(is_durable=True, settings=("max_wal_size=64MB",))

    @property
    def data(self) -> Path:
        """The folder on the small disk, as the process that holds the disk sees it."""
        if self._holder is None:
            return self._mount
        return Path(f"/proc/{self._holder.pid}/root{self._mount}/data")

    @property
    def _mount(self) -> Path:
        return self.folder / "disk"

    def grow(self, megabytes: int) -> None:
        """Make the disk this large, without anybody noticing."""
        assert self._holder is not None
        remount = ["mount", "-o", f"remount,size={megabytes}m", str(self._mount)]
        subprocess.run(["nsenter", "-t", str(self._holder.pid), "-m", *remount], check=True)

    def fill(self) -> None:
        """Leave no space on the disk."""
        with (self.data.parent / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(64 * 1024))
            except OSError:  # ENOSPC
                return

    def free(self) -> None:
        """Give the space back that `fill` took."""
        (self.data.parent / "filler").unlink()

    def remove(self) -> None:
        """End the server, then the disk."""
        super().remove()
        if self._holder is not None:
            self._holder.send_signal(signal.SIGKILL)
            self._holder.wait()

    def _make(self) -> None:
        self._mount.mkdir()
        ids = pwd.getpwnam(_OWNER)
        options = f"size={self._megabytes}m,uid={ids.pw_uid},gid={ids.pw_gid},mode=700"
        mount = f"mount -t tmpfs -o {options} tmpfs {self._mount} && echo mounted"
        hold = f"exec setpriv --reuid={ids.pw_uid} --pdeathsig=KILL sleep infinity"
        self._holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f"{mount} && {hold}"],
            stdout=subprocess.PIPE,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - it takes no lock that a thread might hold
        )
        assert self._holder.stdout is not None
        if not self._holder.stdout.readline():
            raise NoPostgresError("no tmpfs can be mounted here")
        self._holder.stdout.close()
        log = self.folder / "wal"
        log.mkdir()
        os.chown(log, ids.pw_uid, ids.pw_gid)
        self._switches = (f"--waldir={log}", "--wal-segsize=1")
        super()._make()
