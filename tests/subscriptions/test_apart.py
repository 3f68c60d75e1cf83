"""What is called and is not ours ends nobody else's work: neither by hanging, nor by exiting, nor by not listening."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from diptych.subscriptions import apart as module
from diptych.subscriptions import thread
from diptych.subscriptions.apart import apart, heard, kept
from diptych.subscriptions.thread import HangsError, WorkThread
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Called:
    """A call that waits for its gate, and notes that it was cancelled; it may not listen to that."""

    def __init__(self, *, is_deaf: bool = False) -> None:
        self.gate, self.cancelled, self._is_deaf = asyncio.Event(), 0, is_deaf

    async def __call__(self) -> str:
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if not self._is_deaf:
                    raise
        return "done"


async def test_what_a_call_returns_or_raises_is_passed_on() -> None:
    called = Called()
    called.gate.set()
    assert await apart(called()) == "done"
    assert await apart(called(), 60.0) == "done"

    async def fails() -> None:
        raise KeyError("no ink")

    with pytest.raises(KeyError, match="no ink"):
        await apart(fails())


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_what_takes_too_long_is_stopped_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, is_deaf: bool
) -> None:
    monkeypatch.setattr(module, "LEFT", 0.01)
    called = Called(is_deaf=is_deaf)
    with pytest.raises(TimeoutError, match=r"it ran for more than 0.01 s, and was stopped"):
        await apart(called(), 0.01)
    assert called.cancelled == 1
    called.gate.set()


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_who_is_cancelled_ends_whatever_the_call_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, is_deaf: bool
) -> None:
    monkeypatch.setattr(module, "LEFT", 0.01)
    called = Called(is_deaf=is_deaf)
    running = asyncio.create_task(apart(called()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert called.cancelled == 1
    called.gate.set()


async def test_what_exits_has_failed() -> None:
    async def exits() -> None:
        raise SystemExit(3)

    for call in (apart(exits()), kept(exits())):
        with pytest.raises(RuntimeError, match="it exited with 3, and nothing that is called here may end the process"):
            await call


async def test_an_error_that_nobody_awaits_is_taken_note_of() -> None:
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(ValueError("no ink"))
    heard(failed)
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    heard(cancelled)
    assert not failed._log_traceback


def running_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "diptych-test"]


async def test_functions_are_run_one_after_another_on_one_thread_that_ends_when_it_is_let_go_of() -> None:
    work = WorkThread("diptych-test", 60.0)
    names = [await work.run(lambda: threading.current_thread().ident) for _ in range(3)]
    assert len(set(names)) == 1
    assert names[0] != threading.get_ident()
    assert await work.run(divmod, 7, 2) == (3, 1)
    work.close()
    await until(lambda: running_threads() == [])
    assert await work.run(lambda: 7) == 7  # it may be used again
    work.close()


@pytest.mark.parametrize(
    ("error", "kind", "why"), [(KeyError("ink"), KeyError, "ink"), (SystemExit(3), RuntimeError, "SystemExit: 3")]
)
async def test_what_a_function_raises_is_raised_to_who_waits(
    error: BaseException, kind: type[Exception], why: str
) -> None:
    work = WorkThread("diptych-test", 60.0)

    def fail() -> None:
        raise error

    with pytest.raises(kind, match=why):
        await work.run(fail)
    assert await work.run(lambda: 7) == 7
    work.close()


async def test_what_hangs_is_left_behind_with_its_thread_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    work, gate = WorkThread("diptych-test", 0.01), threading.Event()
    try:
        with pytest.raises(HangsError, match=r"it ran for more than 0\.01 s"):
            await work.run(gate.wait)
        assert "diptych-test hangs and is left behind. Its stack:" in caplog.text
        assert "wait" in caplog.text
        patient = WorkThread("diptych-test", 60.0)
        assert await patient.run(lambda: 7) == 7
        patient.close()
        hanging = running_threads()
        work._seconds = 60.0
        assert await work.run(lambda: threading.current_thread() not in hanging)
    finally:
        gate.set()
        work.close()
    await until(lambda: running_threads() == [])


async def test_a_process_that_stood_still_itself_blames_no_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread stood still, too."""
    monkeypatch.setattr(thread, "_LATE", -1.0)  # as if every look came too late
    work, gate = WorkThread("diptych-test", 0.001), threading.Event()
    rung = 0
    ring: Callable[[Any], None] = thread._Watch._ring

    def counted(watch: Any) -> None:
        nonlocal rung
        rung += 1
        ring(watch)

    monkeypatch.setattr(thread._Watch, "_ring", counted)
    waiting = asyncio.create_task(work.run(gate.wait))
    await until(lambda: rung > 2)
    assert not waiting.done()
    gate.set()
    assert await waiting
    work.close()


async def test_an_answer_that_nobody_waits_for_any_more_is_dropped() -> None:
    work, gate = WorkThread("diptych-test", 60.0), threading.Event()
    waiting = asyncio.create_task(work.run(gate.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    gate.set()
    assert await work.run(lambda: 7) == 7
    work.close()
