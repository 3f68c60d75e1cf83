"""Where a lab keeps its data, and how its commands are typed."""

import fcntl
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from diptych import ConfigurationError
from examples.demo.files import FOLDER, place_of

ROOT: Final = Path(__file__).resolve().parents[2]

_MAIN: Final = '''\
"""The order service of a lab: what the commands that it prints look at. Made by `./run demo --break {name}`."""

import sys
from pathlib import Path

sys.path.insert(0, {root!r})

from examples.lab.service import make_app, work

app = make_app({url!r}, Path(__file__).resolve().parent, {limit!r})

if __name__ == "__main__":
    work(app)
'''


class Place(NamedTuple):
    """A lab's folder; `url` is where its events are, `limit` what its service is told of times."""

    folder: Path
    url: str
    limit: float

    @property
    def main(self) -> Path:
        """The file that has its app."""
        return self.folder / "main.py"

    @property
    def fault(self) -> Path:
        """While this file is there, the handler of the parcels does as it says."""
        return self.folder / "fault"

    @property
    def release(self) -> Path:
        """Says which release of the parcels is deployed."""
        return self.folder / "release"

    @property
    def events(self) -> str:
        """Where its events are, as people call it."""
        files = FOLDER.resolve()
        return place_of(self.url).replace(str(files), str(FOLDER))

    def diptych(self, *words: str) -> str:
        """Return a command to type: it names the app, so that it works as it stands."""
        return shlex.join([*_program(), *words, "--app", str(self.main)])


@contextmanager
def place_for(name: str, url: str | None, limit: float) -> Iterator[Place]:
    """Make a place for a lab: anew in `demo-data/NAME`, unless its events are elsewhere.

    :raises ConfigurationError: another lab is there, or the events would be in memory, where no command sees them.
    """
    if url is not None and url.startswith("memory:"):
        raise ConfigurationError("Commands cannot see what is in memory. Name a file or a server, or leave it out.")
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(f"Another lab runs in {folder}. End it first, or start from elsewhere.") from error
        for old in [folder / "fault", folder / "release", *folder.glob("orders.*")]:
            old.unlink(missing_ok=True)
        place = Place(folder, url or f"sqlite:///{folder.resolve()}/orders.db", limit)
        place.main.touch(mode=0o600)  # a URL may have a password in it
        place.main.write_text(_MAIN.format(name=name, root=str(ROOT), url=place.url, limit=limit))
        yield place


def _program() -> list[str]:
    """The command line that is installed with this Python, as short as it can be typed here."""
    script = Path(sys.executable).with_name("diptych")
    if not script.exists():
        return [sys.executable, "-m", "diptych.cli"]
    here = Path.cwd()
    return [str(script.relative_to(here) if script.is_relative_to(here) else script)]
