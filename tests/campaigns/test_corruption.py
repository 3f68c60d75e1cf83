"""Damaged files: a typed error or the truth, never a wrong event and never a driver's exception (X4)."""

import shutil
from pathlib import Path
from random import Random

import pytest

from tests.campaigns.corruption import (
    DAMAGES,
    Damage,
    Original,
    damaged,
    flip_bits,
    not_a_database,
    truncate,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TIMES: dict[Damage, int] = {flip_bits: 80, truncate: 30}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Original, Original]:
    folder = tmp_path_factory.mktemp("originals")
    return Original(folder / "one", 1), Original(folder / "other", 2)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_gives_a_typed_error_or_the_truth(damage: Damage, originals: tuple[Original, Original]) -> None:
    """X4, L8: the store notices, or the damage hit nothing that is read."""
    original, other = originals
    random = Random(1)
    verdicts = [damaged(original, other, damage, random) for _ in range(TIMES.get(damage, 10))]
    if damage is not_a_database:
        assert all(verdict.error is not None for verdict in verdicts)


def test_a_changed_payload_is_named_by_its_position(originals: tuple[Original, Original]) -> None:
    """X4: one byte of one event changed on disk is found by its checksum, and the error says which event."""
    original, other = originals
    chosen = original.log[50]

    def change(target: Path, other: Original, random: Random) -> bool:
        file, (_, event_id) = target / "shop.db", chosen.event_id.split(":")
        (target / "shop.db-wal").unlink(missing_ok=True)
        shutil.copy(original.folder / "closed" / "shop.db", file)
        written = f'{{"id":"{event_id}","cents":"12.50"}}'.encode()
        file.write_bytes(file.read_bytes().replace(written, written.replace(b"12", b"92")))
        return False

    verdict = damaged(original, other, change, Random(3))

    assert verdict.error is not None
    assert f"Position {chosen.position} does not match its checksum" in verdict.error
