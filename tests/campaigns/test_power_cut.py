"""Power cuts: what was synced is there, half of the rest is not, and writes are torn at 512 bytes."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from diptych.store.protocols import StoreSettings
from tests.campaigns.history import Violation
from tests.campaigns.power import BankPowerCut, cut_everywhere

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SMALL_LOG = 64 * 1024  # bytes, so that the write-ahead log is emptied several times in a run


def test_a_power_cut_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """L1, L2, L3, L7 with the default setting, at any write and sync, before, in and after checkpoints."""

    def judge(broken: list[Violation]) -> None:
        assert broken == []

    steps = cut_everywhere(tmp_path, StoreSettings(wal_limit=SMALL_LOG), 250, 1, judge)

    assert steps > 150  # how many there are depends on how many appends the machine lets wait for one commit


def test_with_synchronous_normal_a_power_cut_loses_only_the_end(tmp_path: Path) -> None:
    """L2, L3, L7 hold even so; that L1 does not shows that this disk forgets what was not synced."""
    seen: Counter[str] = Counter()

    def judge(broken: list[Violation]) -> None:
        assert {violation.invariant for violation in broken} <= {"L1"}
        seen.update(violation.invariant for violation in broken)

    cut_everywhere(tmp_path, StoreSettings(synchronous="normal"), 60, 2, judge)

    assert seen["L1"] > 0


def test_a_power_cut_leaves_rows_equal_to_the_log_at_their_checkpoint(tmp_path: Path) -> None:
    """P2, C1, L1: the views file may lose its end, but rows and checkpoint lose it together."""
    run, random = BankPowerCut(tmp_path), Random(3)

    for _ in range(25):
        run.image(random.randrange(len(run.disk.steps) + 1), random)
