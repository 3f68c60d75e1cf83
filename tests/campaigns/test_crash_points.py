"""Crash points: the process is killed at sampled writes and syncs, started again, and sends its commands again."""

import shutil
from random import Random

import pytest

from tests.campaigns.crash import BROKEN, FULL, KILL, points, started
from tests.campaigns.workloads import WORKLOADS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (Debian: apt install strace)"),
]

SHARES = {"events": 0.15, "bank": 0.06}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_killed_at_any_write_or_sync_nothing_is_lost_or_doubled(workload: str) -> None:
    """L1 to L7, P2, C1, X1: a restart alone restores everything. All points: `python -m tests.campaigns crash`."""
    with started(workload) as sweep:
        for syscall, k in points(sweep.counts(), Random(1), share=SHARES[workload]):
            sweep.cycle(syscall, k, KILL)
    assert sweep.cycles >= 10
    assert sweep.killed > sweep.cycles * 0.6, "strace did not kill: the sweep shows nothing"


@pytest.mark.parametrize("action", [FULL, BROKEN])
def test_a_disk_that_fails_once_loses_nothing_acknowledged(action: str) -> None:
    """L1, L7, X2: whoever got an error was not stored, or was told that it is unknown."""
    with started("events") as sweep:
        for syscall, k in points(sweep.counts(), Random(2), share=0.06):
            sweep.cycle(syscall, k, action)
    assert sweep.cycles >= 6
