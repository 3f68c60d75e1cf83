"""What holds up the event loop and what is left behind, and what looks like it and is allowed."""

import pytest

from diptych.lint.fixing import fixed
from tests.lint.sources import SERVICE, found, ids, indented

COMMAND = "@app.command_handler\nasync def place(command: Place, orders: Repository[Order]) -> None:\n"
ROUTE = "@api.post('/orders')\nasync def place(command: Place, commands: Commands, queries: Queries) -> None:\n"
PLAIN = "async def place(command: Place, bus: CommandBus) -> None:\n"


def handling(body: str, before: str = "", head: str = COMMAND) -> str:
    return f"{before}\n\n{head}{indented(body, 4)}"


@pytest.mark.parametrize("head", [COMMAND, ROUTE])
@pytest.mark.parametrize(
    ("body", "before"),
    [
        ("time.sleep(1)", ""),
        ("pause(1)", "from time import sleep as pause"),
        ("requests.get('x')", "import requests"),
        ("session.get('x')", "import requests\nsession = requests.Session()"),
        ("httpx.get('x')", ""),
        ("subprocess.run(['ls'])", "import subprocess"),
        ("wait()", "def wait():\n    time.sleep(1)"),
        ("await wait()", "async def wait():\n    time.sleep(1)"),
        ("[time.sleep(1) for _ in range(2)]", ""),
    ],
)
def test_a_blocking_call_is_found(body: str, before: str, head: str) -> None:
    assert ids(handling(body, before, head)) == ["DP501"]


@pytest.mark.parametrize(
    ("body", "before"),
    [
        ("await asyncio.sleep(1)", ""),
        ("await asyncio.to_thread(time.sleep, 1)", ""),
        ("await asyncio.to_thread(lambda: time.sleep(1))", ""),
        ("def later():\n    time.sleep(1)\nawait asyncio.to_thread(later)", ""),
        ("time.sleep(1)", "class time:\n    pass"),
        ("def late(time):\n    time.sleep(1)", ""),
        ("client = httpx.AsyncClient()", ""),
    ],
)
def test_what_lets_others_run_is_none(body: str, before: str) -> None:
    if before.startswith("class time"):
        body, before = "clock.sleep(1)", "class Clocks:\n    def sleep(self, n): ...\n\nclock = Clocks()"
    assert ids(handling(body, before)) == []


def test_a_plain_route_runs_in_a_thread_and_may_block() -> None:
    assert ids("@api.get('/x')\ndef slow() -> None:\n    time.sleep(1)\n") == []


def test_a_route_of_a_file_without_diptych_is_none() -> None:
    other = "import time\nfrom fastapi import APIRouter\napi = APIRouter()\n\n"
    other += "@api.get('/x')\nasync def x():\n    time.sleep(1)\n"
    assert ids("", other=other) == []


def test_sleep_becomes_one_that_is_awaited() -> None:
    code = handling("time.sleep(0.5)")
    assert "    await asyncio.sleep(0.5)\n" in fixed(SERVICE + code, found(code))[0]


def test_the_fix_brings_its_import() -> None:
    other = (
        "from time import sleep\nfrom shop import Place, app\n\n"
        "@app.command_handler\nasync def again(command: Place) -> None:\n    sleep(2)\n"
    )
    text, _ = fixed(other, found("", other=other))
    assert "import asyncio\n" in text
    assert "    await asyncio.sleep(2)\n" in text


@pytest.mark.parametrize("head", [COMMAND, ROUTE])
@pytest.mark.parametrize(
    "body",
    [
        "asyncio.create_task(later())",
        "asyncio.get_running_loop().create_task(later())",
        "task = asyncio.create_task(later())",
        "task = asyncio.ensure_future(later())\ntasks.add(task)\ntask.add_done_callback(tasks.discard)",
    ],
)
def test_a_task_that_nobody_waits_for_is_found(body: str, head: str) -> None:
    assert ids(handling(body, "tasks = set()\nasync def later(): ...", head)) == ["DP502"]


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.create_task(later())",
        "task = asyncio.create_task(later())\nawait task",
        "task = asyncio.create_task(later())\nawait asyncio.gather(task)",
        "async with asyncio.TaskGroup() as group:\n    group.create_task(later())",
        "tasks = [asyncio.create_task(later())]\nawait asyncio.gather(*tasks)",
    ],
)
def test_a_task_that_is_waited_for_is_none(body: str) -> None:
    assert ids(handling(body, "async def later(): ...")) == []


@pytest.mark.parametrize(
    ("body", "head"),
    [
        ("commands.dispatch(command)", ROUTE),
        ("queries.dispatch(GetOrder(id=command.id))", ROUTE),
        ("app.commands.dispatch(command)", ROUTE),
        ("bus.dispatch(command)", PLAIN),
        ("bus.as_user('ada').dispatch(command)", PLAIN),
        ("orders.get_or_new(command.id)", COMMAND),
    ],
)
def test_a_forgotten_await_is_found_and_mended(body: str, head: str) -> None:
    code = handling(body, head=head)
    findings = found(code)
    assert [one.rule for one in findings] == ["DP504"]
    text, _ = fixed(SERVICE + code, findings)
    assert f"    await {body}\n" in text


@pytest.mark.parametrize(
    ("body", "head"),
    [
        ("await commands.dispatch(command)", ROUTE),
        ("await asyncio.gather(commands.dispatch(command))", ROUTE),
        ("waiting = bus.dispatch(command)\nawait waiting", PLAIN),
        ("other.dispatch(command)", PLAIN),
        ("async with asyncio.TaskGroup() as group:\n    group.create_task(bus.dispatch(command))", PLAIN),
    ],
)
def test_a_dispatch_that_somebody_awaits_is_none(body: str, head: str) -> None:
    assert ids(handling(body, head=head)) == []


def test_a_plain_function_is_told_and_not_mended() -> None:
    code = "def place(command: Place, bus: CommandBus) -> None:\n    bus.dispatch(command)\n"
    (one,) = found(code)
    assert (one.rule, one.fix) == ("DP504", None)
