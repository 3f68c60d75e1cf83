"""A worker of this machine whose process has ended is known to be gone at once; any other only by its lease."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diptych.store.leases import Worker
from diptych.subscriptions import place as places
from diptych.subscriptions.place import comes, goes, has_ended, this_place, where

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says where a process is")


def worker(place: str, id: str = "other") -> Worker:
    return Worker(id, place, frozenset())


def place_of(pid: int) -> str:
    return this_place().rpartition(" ")[0] + f" {pid}"


def test_a_process_that_runs_has_not_ended() -> None:
    assert not has_ended(worker(place_of(os.getppid())))


def test_a_process_that_was_killed_has_ended_even_before_its_parent_looks() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not has_ended(worker(place_of(child.pid)))
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        assert has_ended(worker(place_of(child.pid)))
    finally:
        child.communicate()
    assert has_ended(worker(place_of(child.pid)))


def test_our_own_process_id_belongs_to_another_worker_only_if_we_do_not_know_it() -> None:
    """In a container that was started again, every process has the id that its forerunner had."""
    assert has_ended(worker(this_place()))
    comes("known")
    assert not has_ended(worker(this_place(), "known"))
    goes("known")
    assert has_ended(worker(this_place(), "known"))


@pytest.mark.parametrize("place", ["", "another boot pid:[1] 1", "1", "nonsense"])
def test_of_another_machine_nothing_is_known(place: str) -> None:
    assert not has_ended(worker(place))


@pytest.mark.parametrize("hidden", ["_BOOT", "_NAMESPACE"])
def test_where_the_machine_does_not_say_what_it_is_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hidden: str
) -> None:
    """Not even of our own process: a worker is missed when its lease is over."""
    ours = worker(this_place())
    monkeypatch.setattr(places, hidden, tmp_path / "nothing")
    assert this_place() == ""
    assert not has_ended(ours)
    assert not has_ended(worker(this_place()))


def test_a_process_that_may_not_be_looked_at_is_taken_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """P5: to be wrong about it costs the time of a lease."""
    read = Path.read_text

    def hidden(path: Path, *given: Any, **more: Any) -> str:
        if path == Path(f"/proc/{2**31}/stat"):
            raise PermissionError("hidepid")
        return read(path, *given, **more)

    assert has_ended(worker(place_of(2**31)))
    monkeypatch.setattr(Path, "read_text", hidden)
    assert not has_ended(worker(place_of(2**31)))


def test_where_a_worker_runs_is_said_as_far_as_it_is_known() -> None:
    assert where(worker(place_of(7))) == "process 7 of this machine"
    assert where(worker("another boot pid:[1] 7")) == "process 7 of another machine"
    assert where(worker("")) == "another process"
