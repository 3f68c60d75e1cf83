"""The verbs as a shell sees them: what is on stdout, what on stderr, and the exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ledger import LEDGER

pytestmark = pytest.mark.timeout(90)

SHOP = '''
"""A shop with a projection that takes its time to be mended."""

import os
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI

from diptych import Aggregate, App, Command, DomainEvent, Key, Metadata, Projection, Query, ReadModel, ReadModels
from diptych import Repository, new_id, on
from diptych.web import install


class Sold(DomainEvent):
    product: str


class Sale(Aggregate):
    pass


class Sell(Command[UUID]):
    product: str


class SaleRow(ReadModel):
    id: Annotated[UUID, Key]
    product: str


class Sales(Projection[SaleRow]):
    @on
    def sold(self, event: Sold, meta: Metadata) -> SaleRow:
        if event.product == os.environ.get("POISON"):
            raise ValueError(f"no {event.product}, please")
        return SaleRow(id=meta.stream.id, product=event.product)


class CountSales(Query[int]):
    pass


app = App("sqlite:///shop.db")
app.project(Sales)
api = FastAPI()
install(app, api)


@app.command_handler
async def sell(command: Sell, sales: Repository[Sale]) -> UUID:
    sale = Sale(new_id())
    sale.record(Sold(product=command.product))
    sales.add(sale)
    return sale.id


@app.query_handler
async def count_sales(query: CountSales, read: ReadModels) -> int:
    return await read.count(SaleRow)


@api.get("/mode")
async def mode() -> str:
    return app.mode
'''

SELL = """
import asyncio, sys
sys.path.insert(0, ".")
from shop import Sell, app

async def main():
    async with app:
        for product in sys.argv[1:]:
            await app.commands.dispatch(Sell(product=product))
        await app.caught_up()

asyncio.run(main())
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DIPTYCH_")}
    return {**kept, **extra}


def diptych(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "diptych.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(**extra), capture_output=True, text=True, check=False)


def sell(folder: Path, *products: str, **extra: str) -> None:
    command = [sys.executable, "-c", SELL, *products]
    subprocess.run(command, cwd=folder, env=environment(**extra), capture_output=True, text=True, check=True)


def rows(told: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(told.stdout)
    return found


def test_status_says_where_each_projection_is_in_tab_separated_values(shop: Path) -> None:
    sell(shop, "tea", "milk")
    told = diptych(shop, "status", "shop.py")
    assert told.returncode == 0
    header, line = told.stdout.splitlines()
    assert header.split("\t")[:4] == ["projection", "mode", "state", "position"]
    assert line.split("\t")[:4] == ["sales", "async", "caught up", "2"]


def test_status_of_a_service_without_its_rows_names_the_next_event_and_exits_1_over_the_limit(shop: Path) -> None:
    sell(shop, "tea")
    for file in shop.glob("shop.views.db*"):
        file.unlink()
    told = diptych(shop, "status", "shop.py", "--json", "--fail-lag", "0.001ms")
    assert told.returncode == 1
    assert [(row["state"], row["lag_events"]) for row in rows(told)] == [("not running", 1)]
    assert "its next event is position 1, Sold of Sale-" in told.stderr
    assert diptych(shop, "status", "shop.py").returncode == 0


def test_status_names_the_event_that_is_parked_and_exits_1(shop: Path) -> None:
    """P7: poison is isolated, and said."""
    sell(shop, "tea", "poison", "milk", POISON="poison")
    told = diptych(shop, "status", "shop.py", "--json")
    assert told.returncode == 1
    assert [(row["state"], row["parked"], row["lag_events"]) for row in rows(told)] == [("parked", 1, 0)]
    assert "position 2" in told.stderr
    assert "no poison, please. Once it is mended: diptych projection retry " in told.stderr


def test_status_writes_nothing(shop: Path) -> None:
    sell(shop, "tea")
    before = {path.name: path.read_bytes() for path in shop.glob("*.db*")}
    assert diptych(shop, "status", "shop.py").returncode == 0
    assert {path.name: path.read_bytes() for path in shop.glob("*.db*")} == before


def test_status_of_a_service_that_never_ran_is_one_sentence(shop: Path) -> None:
    told = diptych(shop, "status", "shop.py")
    assert told.returncode == 2
    assert told.stderr.startswith("diptych: shop.db is not there")
    assert "Traceback" not in told.stderr
    assert list(shop.glob("*.db*")) == []


def test_status_of_rows_of_another_history_says_so(shop: Path) -> None:
    """X4: and not that everything is caught up."""
    sell(shop, "tea", "milk")
    kept = (shop / "shop.views.db").read_bytes()
    for file in shop.glob("shop*.db*"):
        file.unlink()
    sell(shop, "tea")
    (shop / "shop.views.db").write_bytes(kept)
    told = diptych(shop, "status", "shop.py")
    assert told.returncode == 2
    assert told.stderr.startswith("diptych: shop.views.db (delete it and it is built again)")


def test_status_names_a_damaged_file_as_the_user_does(shop: Path) -> None:
    (shop / "shop.db").write_text("this is no database")
    told = diptych(shop, "status", "shop.py")
    assert told.returncode == 2
    assert told.stderr.startswith("diptych: shop.db is damaged or not a database")


def test_status_of_an_empty_file_is_the_beginning(shop: Path) -> None:
    (shop / "shop.db").touch()
    assert rows(diptych(shop, "status", "shop.py", "--json"))[0]["position"] == 0


def test_a_time_span_that_is_none_is_a_usage_error(shop: Path) -> None:
    told = diptych(shop, "status", "shop.py", "--fail-lag", "soon")
    assert told.returncode == 2
    assert "Write 500ms, 5s, 2min or 1h" in told.stderr


def test_describe_lists_what_is_wired_with_its_place(shop: Path) -> None:
    told = diptych(shop, "describe", "shop.py", "--json")
    assert told.returncode == 0
    wired = [row for row in rows(told) if row["kind"] not in ("setting", "environment")]
    assert [(row["kind"], row["name"]) for row in wired] == [
        ("command", "Sell"),
        ("query", "CountSales"),
        ("aggregate", "Sale"),
        ("event", "Sold"),
        ("projection", "sales"),
    ]
    assert all("shop.py:" in row["where"] for row in wired)
    assert wired[-1]["detail"].startswith("Sold -> sale_row (async, isolated, version 1, shape ")


def test_describe_lists_events_with_their_versions_and_who_takes_them(tmp_path: Path) -> None:
    (tmp_path / "ledger.py").write_text(LEDGER)
    found = {
        (row["kind"], row["name"]): row["detail"] for row in rows(diptych(tmp_path, "describe", "ledger.py", "--json"))
    }
    assert found["aggregate", "Account"] == "Opened, PaidIn"
    assert found["aggregate", "Report"] == "no event changes its state"
    assert found["event", "PaidIn"] == "v2, brought up from v1 -> balances"
    assert found["event", "Reported"] == "v1"  # recorded, and nobody takes it


CONFIGURED = """

class Clerk:
    pass


def timing(next):
    return next


app.provide(Clerk, Clerk())
app.middleware(timing, query=timing)
"""


def test_describe_lists_what_is_configured_and_by_whom(shop: Path) -> None:
    with (shop / "shop.py").open("a") as file:
        file.write(CONFIGURED)
    url = "sqlite:///shop.db?lock_timeout=3"
    (shop / "shop.py").write_text((shop / "shop.py").read_text().replace("sqlite:///shop.db", url))
    told = diptych(shop, "describe", "shop.py", "--json", DIPTYCH_MODE="development")
    found = {(row["kind"], row["name"]): (row["detail"], row["where"]) for row in rows(told)}
    assert found["setting", "url"] == (url, "App(...)")
    assert found["setting", "mode"][0] == "development"
    assert found["environment", "DIPTYCH_MODE"][0] == "development"
    assert (found["setting", "lock_timeout"], found["setting", "synchronous"]) == (("3.0", "URL"), ("full", "default"))
    assert "shop.py:" in found["provider", "Clerk"][1]
    assert [row["detail"] for row in rows(told) if row["kind"] == "middleware"] == [
        "around every command", "around every query"
    ]  # fmt: skip


def test_describe_shows_no_password(shop: Path) -> None:
    url = "postgresql://shop:secret@db.example.org/shop"
    (shop / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", url))
    told = diptych(shop, "describe", "shop.py", DIPTYCH_ELSEWHERE=url, DIPTYCH_API_TOKEN="secret")
    assert told.returncode == 0
    assert "secret" not in told.stdout + told.stderr
    assert "postgresql://shop:***@db.example.org/shop" in told.stdout


def test_an_app_that_cannot_be_found_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    told = diptych(tmp_path, "describe")
    assert told.returncode == 2
    assert told.stderr.startswith("diptych: No app found")
    assert told.stdout == ""


def test_a_module_without_fastapi_cannot_be_served(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("from diptych import App\napp = App('memory:')\n")
    told = diptych(tmp_path, "run", "bare.py")
    assert told.returncode == 2
    assert "install(app, api)" in told.stderr


FAULTY = """

class Buy(Command):
    pass


@app.command_handler
async def buy(command: Buy, nobody: "Absent") -> None: ...


@app.query_handler
async def count_again(query: CountSales, other: "Missing") -> int:
    return 0
"""


def test_describe_lists_all_faults_at_once(shop: Path) -> None:
    with (shop / "shop.py").open("a") as file:
        file.write(FAULTY)
    told = diptych(shop, "describe", "shop.py")
    assert told.returncode == 2
    assert "Absent" in told.stderr
    assert "Missing" in told.stderr


def test_a_refused_start_lists_its_faults_without_a_stack_trace(shop: Path) -> None:
    with (shop / "shop.py").open("a") as file:
        file.write(FAULTY)
    told = diptych(shop, "run", "shop.py", "--port", str(free_port()))
    assert told.returncode == 2
    assert "2 problems" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_port_that_cannot_be_is_a_usage_error(shop: Path) -> None:
    told = diptych(shop, "run", "shop.py", "--port", "65536")
    assert told.returncode == 2
    assert "Traceback" not in told.stderr


def test_status_that_watches_into_a_pipe_writes_its_lines_again_and_again_and_nothing_else(shop: Path) -> None:
    (shop / "shop.db").touch()
    command = [sys.executable, "-m", "diptych.cli", "status", "shop.py", "--watch"]
    with subprocess.Popen(
        command, cwd=shop, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline() for _ in range(4)]
        watching.send_signal(signal.SIGINT)
        said = watching.communicate(timeout=30)[1]
    assert lines[0].startswith("projection\tmode\t")
    assert lines[:2] == lines[2:]
    assert (watching.returncode, "Traceback" in said) == (130, False)


def test_an_app_without_sagas_says_so(shop: Path) -> None:
    told = diptych(shop, "saga", "pause", "fulfilment", "--app", "shop.py")
    assert (told.returncode, told.stderr) == (2, "diptych: There is no saga fulfilment. The app has none.\n")


def test_an_address_of_elsewhere_is_told_as_such(shop: Path) -> None:
    told = diptych(shop, "run", "shop.py", "--host", "192.0.2.1")
    assert told.returncode == 2
    assert "--host 127.0.0.1" in told.stderr


@pytest.mark.slow
def test_a_change_that_breaks_the_file_is_one_sentence_and_the_next_change_mends_it(shop: Path) -> None:
    port, file = free_port(), shop / "shop.py"
    command = [sys.executable, "-m", "diptych.cli", "dev", "shop.py", "--port", str(port)]
    url, good = f"http://127.0.0.1:{port}/mode", file.read_text()
    with subprocess.Popen(command, cwd=shop, env=environment(), stderr=subprocess.PIPE, text=True) as served:
        try:
            answer(served, url)
            file.write_text(good + "\ndef unfinished(:\n")
            assert served.stderr is not None
            said = ""
            while "SyntaxError" not in said:
                said += served.stderr.readline()
            mended = good.replace("return app.mode", "return 'mended'")
            file.write_text(mended)
            # A change that comes while uvicorn starts its process again is not seen by it: it is saved once more then.
            while b"mended" not in answer(served, url, hangs=lambda: file.write_text(mended)):
                time.sleep(0.05)
        finally:
            served.send_signal(signal.SIGINT)
        said += served.communicate(timeout=30)[1]
    assert "shop.py:" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "workers"), [("start", "1"), ("start", "2"), ("import", "2")])
def test_a_service_that_cannot_start_ends_with_2_however_many_processes_it_has(
    shop: Path, fault: str, workers: str
) -> None:
    """With several it was 0 for a start that failed; an import that failed in them was tried again without end."""
    if fault == "start":
        (shop / "shop.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    else:
        broken = "import os\nif 'DIPTYCH_SERVED' in os.environ:\n    raise RuntimeError('not here')\n"
        (shop / "shop.py").write_text(broken + (shop / "shop.py").read_text())
    told = diptych(shop, "run", "shop.py", "--port", str(free_port()), "--workers", workers)
    assert told.returncode == 2
    assert ("is damaged or not a database" if fault == "start" else "RuntimeError: not here") in told.stderr
    assert "Traceback" not in told.stderr


def test_a_port_that_is_taken_is_said_before_anything_starts(shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = diptych(shop, "run", "shop.py", "--port", str(taken.getsockname()[1]))
    assert told.returncode == 2
    assert "Choose another port" in told.stderr


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize(("verb", "mode"), [("dev", "development"), ("run", "production")])
def test_an_app_is_served_in_the_mode_of_its_verb_and_stops_when_interrupted(shop: Path, verb: str, mode: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", "diptych.cli", verb, "shop.py", "--port", str(port)]
    with subprocess.Popen(command, cwd=shop, env=environment(), stderr=subprocess.PIPE, text=True) as served:
        try:
            assert json.loads(answer(served, f"http://127.0.0.1:{port}/mode")) == mode
            assert b"ready" in answer(served, f"http://127.0.0.1:{port}/health/ready")
        finally:
            served.send_signal(signal.SIGINT)
        said = served.communicate(timeout=30)[1]
    assert f"http://127.0.0.1:{port}/docs" in said
    assert "Traceback" not in said


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def answer(served: subprocess.Popen[str], url: str, hangs: Callable[[], object] = lambda: None) -> bytes:
    """What the service answers, once it is there. `hangs` is called when it takes the connection and says nothing."""
    while served.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as found:
                body: bytes = found.read()
                return body
        except TimeoutError:
            hangs()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"it ended: {served.communicate()[1]}")


def test_help_names_every_verb() -> None:
    told = diptych(Path.cwd(), "--help")
    assert told.returncode == 0
    assert [
        verb
        for verb in ("dev", "run", "status", "describe", "doctor", "trace", "stream", "event", "db")
        if f"  {verb} " not in told.stdout
    ] == []
