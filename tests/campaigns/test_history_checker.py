"""The history checker is itself tested: true histories pass, and every planted fault is caught."""

from random import Random

import pytest

from tests.campaigns.faults import FAULTS, Fault
from tests.campaigns.history import Entry, History, Operation, Write, operation_line, operation_of, violations
from tests.campaigns.simulation import Simulation

SEEDS = range(25)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_true_history_breaks_nothing(seed: int) -> None:
    """L1 to L8, C1: the checker accuses nobody who is innocent."""
    history = Simulation(seed).run()

    assert violations(history) == []
    assert {"stored", "conflict", "unknown"} <= {operation.outcome for operation in history.operations}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_caught(fault: Fault) -> None:
    """L1 to L8, C1: whatever a store may do wrong, the checker sees it in every history that has a place for it."""
    planted = 0
    for seed in SEEDS:
        history = Simulation(seed).run()
        if fault(history, Random(seed)):
            planted += 1
            broken = {found.invariant for found in violations(history)}
            assert FAULTS[fault] in broken, f"{fault.__name__} went unseen in history {seed}: {broken}"
    assert planted >= len(SEEDS) // 2, f"{fault.__name__} found a place in only {planted} histories"


def test_two_winners_of_one_version_are_named() -> None:
    """L6: the sentence says who they are."""
    first = Operation("a", 1, (Write("s", 0, ("e1",)),), None, 5, "stored", 1, (1,))
    second = Operation("b", 2, (Write("s", 0, ("e2",)),), None, 6, "stored", 2, (2,))
    history = History([first, second], [], [Entry(1, "s", 1, "e1"), Entry(2, "s", 2, "e2")])

    assert [found.what for found in violations(history)] == [
        "b@2 expected version 0 of s, got 2",
        "a@1 and b@2 both won s at 0",
    ]


def test_an_operation_survives_the_way_through_a_file() -> None:
    """A history written by several processes is the history they had."""
    for operation in Simulation(1).run().operations:
        assert operation_of(operation_line(operation)) == operation
