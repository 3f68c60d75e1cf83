"""What is tried alone waits for what is under way, goes before what comes, and holds nobody up for ever."""

import asyncio
from datetime import timedelta

import pytest

from diptych import new_id
from diptych.subscriptions import care
from diptych.subscriptions.care import ALONE, Ward, note, tries_of
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Watched:
    """A ward, and the names of those inside in the order they came."""

    def __init__(self) -> None:
        self.ward, self.inside = Ward(), list[str]()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def comes(self, name: str, *, alone: bool = False) -> None:
        """Have one want to begin."""
        self._tasks[name] = asyncio.create_task(self._enter(name, alone))
        for _ in range(3):
            await asyncio.sleep(0)

    async def gives_up(self, name: str) -> None:
        """Have one that waits be cancelled."""
        self._tasks[name].cancel()
        await asyncio.wait([self._tasks[name]])

    async def goes(self, name: str, *, alone: bool = False) -> None:
        """Have one end."""
        self.inside.remove(name)
        self.ward.leave(alone=alone)
        for _ in range(5):
            await asyncio.sleep(0)

    async def _enter(self, name: str, alone: bool) -> None:
        await self.ward.enter(alone=alone)
        self.inside.append(name)


async def test_one_that_is_tried_alone_waits_for_others_and_goes_before_new_ones() -> None:
    """P7"""
    here = Watched()
    await here.comes("a")
    await here.comes("b")
    await here.comes("suspect", alone=True)
    await here.comes("c")
    assert here.inside == ["a", "b"]
    await here.goes("a")
    assert here.inside == ["b"]
    await here.goes("b")
    assert here.inside == ["suspect"]
    await here.comes("another suspect", alone=True)
    await here.goes("suspect", alone=True)
    assert here.inside == ["another suspect"]
    await here.goes("another suspect", alone=True)
    assert here.inside == ["c"]


async def test_one_that_gives_up_waiting_holds_nobody_up() -> None:
    here = Watched()
    await here.comes("a")
    await here.comes("suspect", alone=True)
    await here.comes("b")
    await here.gives_up("suspect")
    await until(lambda: here.inside == ["a", "b"])


async def test_nobody_waits_for_ever_for_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """P7: neither it for them, nor they for it."""
    monkeypatch.setattr(care, "PATIENCE", timedelta(milliseconds=50).total_seconds())
    here = Watched()
    await here.comes("hangs")
    await here.comes("suspect", alone=True)
    await here.comes("b")
    assert here.inside == ["hangs"]
    await until(lambda: {*here.inside} == {"hangs", "suspect", "b"})
    assert here.inside[:2] == ["hangs", "suspect"]


def test_a_note_is_known_again_and_other_errors_are_none() -> None:
    assert [tries_of(note(tries)) for tries in range(ALONE + 1)] == [0, 1, 2]
    assert tries_of(f"OSError: {new_id()}") == 0
    with pytest.raises(care.EndedError):
        note(ALONE + 1)
