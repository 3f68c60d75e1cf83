"""What a saga does itself, in the ways that people write it, and what looks like it and is allowed."""

import pytest

from diptych.lint.fixing import fixed
from tests.lint.sources import SERVICE, found, ids, indented

SAGAS = "from datetime import timedelta\nfrom diptych import IdempotencyKey, Rejected, Saga, Steps, Timeout, step\n"
LATE = "\n\nclass Late(Timeout):\n    pass\n"


def saga(body: str, before: str = "", more: str = "") -> str:
    return (
        f"{SAGAS}{before}{LATE}\n\nclass Delivery(Saga):\n    @on(starts=True)\n"
        f"    def placed(self, event: Placed, meta: Metadata) -> None:\n{indented(body)}{more}"
    )


def steps(body: str, mark: str = "@step", kind: str = "def") -> str:
    return (
        f"{SAGAS}\n\nclass Delivery(Steps):\n    @on(starts=True)\n    def placed(self, event: Placed) -> None:\n"
        f"        pass\n\n    @step\n    def first(self) -> Place:\n        return Place(id=self.id, cents=1)\n\n"
        f"    {mark}\n    {kind} second(self) -> Place:\n{indented(body)}        return Place(id=self.id, cents=1)\n"
    )


@pytest.mark.parametrize(
    "code",
    [
        saga("httpx.post('x')"),
        saga("self._tell()", more="\n    def _tell(self) -> None:\n        httpx.post('x')\n"),
        saga("one()", "def one(): two()\ndef two(): three()\ndef three(): open('x')"),
        saga("pass", more="\n    @on\n    def late(self, late: Late) -> None:\n        httpx.post('x')\n"),
        saga("pass", more="\n    @on\n    def no(self, no: Rejected[Place]) -> None:\n        httpx.post('x')\n"),
        steps("httpx.post('x')"),
        steps("httpx.post('x')", "@first.undo"),
        steps("httpx.post('x')", "@step(attempts=3)"),
    ],
)
def test_io_is_found(code: str) -> None:
    assert ids(code) == ["DP310"]


def test_a_command_that_is_dispatched_past_the_commit_is_found() -> None:
    one = next(
        one
        for one in found(saga("asyncio.run(app.commands.dispatch(Place(id=self.id, cents=1)))"))
        if one.rule == "DP310"
    )
    assert "self.dispatch(command)" in one.hint


@pytest.mark.parametrize("call", ["datetime.now(UTC)", "time.time()", "uuid4()", "new_id()"])
def test_what_differs_each_time_is_found(call: str) -> None:
    assert ids(saga(f"self.seen = {call}")) == ["DP311"]
    assert ids(steps(f"seen = {call}")) == ["DP311"]


def test_now_becomes_the_time_of_the_event() -> None:
    code = saga("self.schedule(Late(), at=datetime.now(UTC) + timedelta(minutes=30))")
    (one,) = found(code)
    assert one.fix is not None
    assert one.fix.is_safe
    text, _ = fixed(SERVICE + code, [one])
    assert text == (SERVICE + code).replace("datetime.now(UTC) + timedelta", "meta.recorded_at + timedelta")


@pytest.mark.parametrize(
    "code",
    [
        saga("self.dispatch(Place(id=self.id, cents=event.cents))"),
        saga("self.schedule(Late(), after=timedelta(minutes=30))"),
        saga("self.parcel = id_for('parcel', str(self.id))"),
        saga("self.seen = meta.recorded_at"),
        steps("await httpx.AsyncClient().post('x', headers={'at': time.time()})", kind="async def"),
        steps("await httpx.AsyncClient().post('x')", "@first.undo", "async def"),
        "class Fulfilment:\n    @on\n    def placed(self, event: Placed) -> None:\n        httpx.post('x')\n",
    ],
)
def test_what_a_saga_may_do_is_not_found(code: str) -> None:
    assert ids(code) == []
