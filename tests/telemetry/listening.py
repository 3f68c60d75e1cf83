"""An observer that writes down what it is told, and a second writer that makes commands meet conflicts."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from diptych import App
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.telemetry.observer import Appending, Batch, Handled, LeaseChange, Request, Running, Scope, Work
from tests.telemetry.tallies import Raise, Raised


class Listener:
    """Writes down each piece of work when it is over: its kind, name and outcome, and the work itself."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.works: list[Work] = []

    def of(self, kind: str) -> list[tuple[str, str]]:
        """What it was told of one kind: name and outcome."""
        return [(name, outcome) for told, name, outcome in self.told if told == kind]

    @contextmanager
    def _until_over(self, kind: str, work: Work) -> Iterator[None]:
        try:
            yield
        finally:
            self.told.append((kind, work.name, work.outcome))
            self.works.append(work)

    @contextmanager
    def running(self, app: Running) -> Iterator[None]:
        self.told.append(("app", "", "started"))
        yield
        self.told.append(("app", "", "stopped"))

    def request(self, request: Request) -> Scope:
        return self._until_over("request", request)

    def command(self, command: Handled) -> Scope:
        return self._until_over("command", command)

    def query(self, query: Work) -> Scope:
        return self._until_over("query", query)

    def append(self, append: Appending) -> Scope:
        return self._until_over("append", append)

    def batch(self, batch: Batch) -> Scope:
        return self._until_over("batch", batch)

    def lease_changed(self, projection: str, lane: int, change: LeaseChange) -> None:
        self.told.append(("lease", projection, change))


def somebody_else(app: App, command: Raise) -> Callable[[], Awaitable[object]]:
    """Write to the tally of a command past its handler, as another process would."""
    event = app.codec.encode(Raised(by=1))
    stream = StreamName("", "Tally", command.tally_id)
    return lambda: app.events.append(Append([StreamWrite(stream, ANY, [event])]))
