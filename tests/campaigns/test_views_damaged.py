"""The views file deleted, damaged, exchanged, or ahead of a restored log: rebuilt, right, or a typed error; no more."""

import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from diptych import App, id_for
from diptych.errors import DiptychError, OtherHistoryError, StaleReadError, StoreCorruptedError
from tests.campaigns.bank import GetBalance, PayIn, bank

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]

ACCOUNT = id_for("bank account", "damaged")
Damage = Callable[[bytes, Random], bytes]


def _app(folder: Path) -> App:
    return bank(f"sqlite:///{folder / 'shop.db'}")


async def _pay_in(folder: Path, times: int) -> None:
    async with _app(folder) as app:
        for number in range(times):
            await app.commands.dispatch(PayIn(account_id=_account(number), amount=Decimal(1), branch="b"))
        await app.caught_up(10)


def _account(number: int) -> UUID:
    return ACCOUNT if number % 2 else id_for("bank account", str(number))


async def _movements(folder: Path) -> int:
    """What the rows say after a start; at most until everything is caught up."""
    async with _app(folder) as app:
        await app.caught_up(10)
        row = await app.queries.dispatch(GetBalance(account_id=ACCOUNT))
        return 0 if row is None else row.movements


def _flipped(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :]


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(1, len(content))]


def _zeroed(content: bytes, random: Random) -> bytes:
    at = random.randrange(0, len(content), 4096)
    return content[:at] + bytes(4096) + content[at + 4096 :]


def _remove(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


async def test_a_deleted_views_file_is_built_again(tmp_path: Path) -> None:
    """P3: the rows come from the log alone."""
    await _pay_in(tmp_path, 20)
    _remove(tmp_path, "shop.views.db*")

    assert await _movements(tmp_path) == 10


@pytest.mark.parametrize("damage", [_flipped, _cut, _zeroed])
async def test_a_damaged_views_file_gives_typed_errors_only(tmp_path: Path, damage: Damage) -> None:
    """X4: no driver's exception leaves; deleting the file is the way out."""
    await _pay_in(tmp_path, 20)
    views, random = tmp_path / "shop.views.db", Random(1)
    content = views.read_bytes()
    for _ in range(8):
        _remove(tmp_path, "shop.views.db-*")
        views.write_bytes(damage(content, random))
        try:
            await _movements(tmp_path)
        except DiptychError:
            continue
    views.unlink()
    assert await _movements(tmp_path) == 10


async def test_files_exchanged_are_refused(tmp_path: Path) -> None:
    """X4: a file of events is no file of rows, and nothing of it is changed."""
    await _pay_in(tmp_path, 4)
    events, views = tmp_path / "shop.db", tmp_path / "shop.views.db"
    before = events.read_bytes()
    shutil.copy(events, views)

    with pytest.raises(StoreCorruptedError):
        await _movements(tmp_path)

    assert events.read_bytes() == before
    assert views.read_bytes() == before


async def test_rows_of_another_store_are_refused(tmp_path: Path) -> None:
    """X4: rows made from one log are not shown beside another."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        await _pay_in(tmp_path / name, 4)
    shutil.copy(tmp_path / "other" / "shop.views.db", tmp_path / "one" / "shop.views.db")

    with pytest.raises(OtherHistoryError):
        await _movements(tmp_path / "one")


async def test_rows_ahead_of_a_restored_log_are_not_passed_off_as_right(tmp_path: Path) -> None:
    """X4: a backup of the events beside newer rows: the projections stop and say why, a fresh answer is refused."""
    await _pay_in(tmp_path, 4)
    shutil.copy(tmp_path / "shop.db", tmp_path / "backup")
    await _pay_in(tmp_path, 6)
    shutil.copy(tmp_path / "backup", tmp_path / "shop.db")

    async with _app(tmp_path) as app:
        for _ in range(10):
            receipt = await app.commands.dispatch(PayIn(account_id=ACCOUNT, amount=Decimal(7), branch="b"))
        with pytest.raises(StaleReadError, match="stopped"):
            await app.caught_up(3)
        with pytest.raises(StaleReadError, match="stopped"):
            await app.queries.dispatch(GetBalance(account_id=ACCOUNT), after=receipt)
        answer = await app.queries.answer(GetBalance(account_id=ACCOUNT))
        assert (answer.is_stale, answer.reason) == (True, "stopped")
        assert "another history" in str(app.progress["balances"].error)
