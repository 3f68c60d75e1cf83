"""A worker of this machine whose process has ended is known to be gone at once; any other only by its lease."""

import os
import subprocess
import sys

import pytest

from diptych.store.leases import Worker
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


def test_where_a_worker_runs_is_said_as_far_as_it_is_known() -> None:
    assert where(worker(place_of(7))) == "process 7 of this machine"
    assert where(worker("another boot pid:[1] 7")) == "process 7 of another machine"
    assert where(worker("")) == "another process"
