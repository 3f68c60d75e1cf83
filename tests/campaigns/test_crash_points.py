"""Crash points: the process is killed at sampled writes and syncs, started again, and sends its commands again."""

import shutil
from random import Random

import pytest

from tests.campaigns.crash import BROKEN, CUT, FULL, KILL, points, started
from tests.campaigns.workloads import WORKLOADS
from tests.postgres import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (Debian: apt install strace)"),
]

SHARES = {"events": 0.15, "bank": 0.06, "fulfilment": 0.004}
OF_PACKETS = {"events": 0.15, "bank": 0.015, "fulfilment": 0.0005}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_killed_at_any_write_or_sync_nothing_is_lost_or_doubled(workload: str) -> None:
    """L1 to L7, P2, C1, X1, S1 to S4: a restart restores everything. All points: `python -m tests.campaigns crash`."""
    with started(workload) as sweep:
        for syscall, k in points(sweep.counts(), Random(1), share=SHARES[workload]):
            sweep.cycle(syscall, k, KILL)
    assert sweep.cycles >= 6  # how many writes there are to choose from depends on how they fall together
    assert sweep.killed > sweep.cycles * 0.6, "strace did not kill: the sweep shows nothing"


@pytest.mark.parametrize("action", [FULL, BROKEN])
def test_a_disk_that_fails_once_loses_nothing_acknowledged(action: str) -> None:
    """L1, L7, X2: whoever got an error was not stored, or was told that it is unknown."""
    with started("events") as sweep:
        for syscall, k in points(sweep.counts(), Random(2), share=0.06):
            sweep.cycle(syscall, k, action)
    assert sweep.cycles >= 6


@pytest.mark.postgres
@pytest.mark.parametrize("workload", WORKLOADS)
def test_killed_at_any_packet_nothing_is_lost_or_doubled(postgres: Server, workload: str) -> None:
    """L1 to L7, P2, C1, X1, S1 to S4 on PostgreSQL: at what is sent and at what is received."""
    with started(workload, postgres) as sweep:
        for syscall, k in points(sweep.counts(), Random(3), share=OF_PACKETS[workload]):
            sweep.cycle(syscall, k, KILL)
    assert sweep.cycles >= 4
    assert sweep.killed > sweep.cycles * 0.6, "strace did not kill: the sweep shows nothing"


@pytest.mark.postgres
def test_a_connection_lost_at_any_packet_loses_nothing_acknowledged(postgres: Server) -> None:
    """L1, L7, X1: whoever got an error was not stored, or was told that it is unknown."""
    with started("events", postgres) as sweep:
        for syscall, k in points(sweep.counts(), Random(4), share=0.1):
            sweep.cycle(syscall, k, CUT)
    assert sweep.cycles >= 6
