"""What a trace makes of causes: who caused whom, and how long it took."""

from decimal import Decimal
from pathlib import Path

import pytest

from diptych import new_id
from diptych.app.tracing import Scan, trace
from diptych.errors import NotFoundError
from diptych.store.opening import log_from_outside
from tests.stories.purses import Pay, purses

pytestmark = pytest.mark.anyio


async def test_between_a_command_and_one_that_it_caused_there_are_milliseconds(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/purses.db"
    async with purses(url) as app:
        first = await app.commands.dispatch(Pay(amount=Decimal(1)))
        await app.commands.dispatch(Pay(amount=Decimal(2)))
        later = await app.commands.dispatch(Pay(amount=Decimal(3)), correlation_id=first.command_id)
        times = [row.recorded_at for row in (await app.events.read_log(after=0)).events]
    async with log_from_outside(url) as log:
        found = await trace(log, str(later.command_id), Scan())
    assert found.conversation == str(first.command_id)
    commands = [step for step in found.steps if step.kind == "command"]
    assert [(step.id, step.caused_by) for step in commands] == [
        (str(first.command_id), None), (str(later.command_id), str(first.command_id))
    ]  # fmt: skip
    assert [step.milliseconds for step in commands] == [None, (times[2] - times[0]) / 1000]
    assert [step.position for step in found.steps if step.kind == "event"] == [1, 3]


async def test_what_was_found_far_back_is_looked_around_at(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/purses.db"
    async with purses(url) as app:
        first = await app.commands.dispatch(Pay(amount=Decimal(1)))
        await app.commands.dispatch(Pay(amount=Decimal(2)), correlation_id=first.command_id)
        for _ in range(5):
            await app.commands.dispatch(Pay(amount=Decimal(3)))
    async with log_from_outside(url) as log:
        found = await trace(log, str(first.command_id), Scan(limit=3))
    assert (found.scanned, found.head) == ((1, 3), 7)
    assert [step.position for step in found.steps if step.kind == "event"] == [1, 2]


async def test_a_stream_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    url, missing = f"sqlite:///{tmp_path}/purses.db", str(new_id())
    async with purses(url) as app:
        paid = await app.commands.dispatch(Pay(amount=Decimal(1)))
        await app.commands.dispatch(Pay(amount=Decimal(2)))
    stream = next(iter(paid.streams))
    async with log_from_outside(url) as log:
        with pytest.raises(NotFoundError, match=f"diptych stream events {stream.category}/{stream.id}$"):
            await trace(log, str(stream.id), Scan())
        with pytest.raises(NotFoundError, match=f"has nothing of {missing} at positions 1 to 2 of 2.$"):
            await trace(log, missing, Scan())
        with pytest.raises(
            NotFoundError, match=f"nothing of {missing} at positions 2 to 2 of 2; --limit looks further"
        ):
            await trace(log, missing, Scan(limit=1))
