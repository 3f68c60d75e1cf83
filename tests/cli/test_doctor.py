"""`diptych doctor`: what is well, what is not and what mends it, and what could not be looked at."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from diptych.store.health import Result
from diptych.store.postgres.migrations import lock_key
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.events import SqliteEventStore
from diptych.store.sqlite.health import checks
from tests.cli.test_verbs import SHOP, diptych, rows, sell
from tests.postgres import Server, binaries, had_or_skipped
from tests.postgres_servers.pair import running_pair

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def examined(folder: Path, **extra: str) -> dict[str, dict[str, Any]]:
    told = diptych(folder, "doctor", "shop.py", "--json", **extra)
    assert "Traceback" not in told.stderr
    found = {line["check"]: line for line in rows(told)}
    assert told.returncode == (1 if any(line["result"] == "KO" for line in found.values()) else 0)
    return found


def results(found: dict[str, dict[str, Any]], result: str) -> list[str]:
    return [name for name, line in found.items() if line["result"] == result]


def test_a_service_on_files_that_is_well_has_no_ko(shop: Path) -> None:
    sell(shop, "tea")
    found = examined(shop)
    assert results(found, "KO") == []
    assert {"Python", "apsw", "SQLite", "events file", "disk space", "sync time", "wiring", "event types"} <= set(found)


def test_a_service_that_never_ran_is_told_from_one_that_is_ill(shop: Path) -> None:
    found = examined(shop)
    assert results(found, "KO") == []
    away = ["events file", "views file", "event types", "schema versions", "sagas and reactions"]
    assert results(found, "could not check") == away
    assert list(shop.glob("*.db*")) == []


def test_a_file_of_another_program_is_ko_with_what_to_do(shop: Path) -> None:
    (shop / "shop.db").write_text("this is no database")
    found = examined(shop)
    assert found["events file"]["result"] == "KO"
    assert "restore it from a backup" in found["events file"]["fix"]
    assert found["sync time"]["result"] != "KO"  # the others are made all the same


def test_a_file_that_everybody_may_write_is_ko(shop: Path) -> None:
    sell(shop, "tea")
    (shop / "shop.db").chmod(0o666)
    assert examined(shop)["events permissions"]["fix"] == "chmod o-w shop.db"


def test_a_log_beside_the_file_that_is_never_cleared_is_ko(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    (tmp_path / "shop.db-wal").write_bytes(bytes(3000))
    path, settings = str(tmp_path / "shop.db"), StoreSettings(wal_limit=1000)
    found = {check.name: check for check in checks(path, str(tmp_path / "shop.views.db"), settings)}
    assert found["events WAL"].result is Result.KO


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (2_500_000, "2.5 MB"), (10**9, "1.0 GB")]
)
def test_sizes_are_said_as_people_say_them(tmp_path: Path, size: int, said: str) -> None:
    (tmp_path / "shop.db").touch()
    with (tmp_path / "shop.db-wal").open("wb") as file:
        file.truncate(size)
    found = checks(str(tmp_path / "shop.db"), str(tmp_path / "shop.views.db"), StoreSettings())
    assert [check.detail for check in found if check.name == "events WAL"] == [said]


@pytest.mark.anyio
async def test_a_file_of_the_newest_schema_is_well(tmp_path: Path) -> None:
    store = SqliteEventStore(str(tmp_path / "shop.db"))
    await store.open()
    await store.close()
    found = {check.name: check for check in checks(str(tmp_path / "shop.db"), str(tmp_path / "v.db"), StoreSettings())}
    assert found["events file"].result is Result.OK


def test_a_file_of_another_kind_is_ko_and_the_others_are_looked_at_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_text("this is no database")
    found = {check.name: check for check in checks(str(tmp_path / "shop.db"), str(tmp_path / "v.db"), StoreSettings())}
    assert found["events file"].result is Result.KO
    assert found["events WAL"].result is Result.OK


def test_events_that_the_code_does_not_know_are_ko(shop: Path) -> None:
    """I2."""
    sell(shop, "tea")
    (shop / "shop.py").write_text(SHOP.replace("class Sold(DomainEvent)", 'class Sold(DomainEvent, name="Bought")'))
    found = examined(shop)
    assert found["event types"]["detail"] == "Sold v1 (1, the last at 1)"
    (shop / "shop.py").write_text(SHOP.replace("class Sold(DomainEvent)", "class Sold(DomainEvent, version=2)"))
    sell(shop, "milk")
    (shop / "shop.py").write_text(SHOP)
    assert examined(shop)["schema versions"]["detail"] == "Sold v2 (1, the last at 2)"


def test_what_cannot_be_wired_is_ko(shop: Path) -> None:
    with (shop / "shop.py").open("a") as file:
        file.write('\n\n@app.command_handler\nasync def buy(command: "Absent") -> None: ...\n')
    found = examined(shop)
    assert found["wiring"]["result"] == "KO"
    assert "Absent" in found["wiring"]["detail"]


def test_an_option_that_is_none_is_ko(shop: Path) -> None:
    (shop / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", "sqlite:///shop.db?sync=full"))
    assert "there is no option 'sync'" in examined(shop)["store"]["detail"]


def test_an_app_that_cannot_be_found_exits_2(tmp_path: Path) -> None:
    told = diptych(tmp_path, "doctor")
    assert (told.returncode, told.stdout) == (2, "")


def test_a_chosen_risk_is_named_and_no_ko(shop: Path) -> None:
    (shop / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", "sqlite:///shop.db?synchronous=normal"))
    assert examined(shop)["synchronous"]["detail"].startswith("normal: a power cut may lose")


@pytest.fixture
def server_shop(shop: Path, postgres_url: str) -> Path:
    (shop / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", postgres_url))
    return shop


def test_a_server_that_does_not_wait_for_its_disk_is_ko(server_shop: Path) -> None:
    sell(server_shop, "tea")
    found = examined(server_shop)
    assert results(found, "KO") == ["fsync", "full_page_writes", "synchronous_commit"]
    assert found["fsync"]["fix"].startswith("ALTER SYSTEM SET fsync = 'on'")
    assert found["rights"]["detail"] == "postgres may append"
    assert found["clock"]["result"] == found["commit time"]["result"] == "OK"


def test_a_schema_that_is_not_there_yet_is_no_ko_and_is_not_made(server_shop: Path, postgres: Server) -> None:
    assert examined(server_shop)["schema"]["result"] == "could not check"
    assert postgres.query("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'test_%'") == "0"


@pytest.mark.slow
def test_a_durable_server_with_room_is_well_and_one_without_is_not(shop: Path) -> None:
    with had_or_skipped():
        server = Server(is_durable=True, settings=["max_connections=20"])
    try:
        (shop / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", server.url()))
        assert results(examined(shop), "KO") == ["max_connections"]
    finally:
        server.remove()


@pytest.mark.slow
def test_a_standby_is_told_of_and_one_that_is_waited_for_in_vain_is_ko(shop: Path) -> None:
    """L1: what is acknowledged is on the standby, too."""
    with had_or_skipped(), running_pair() as pair:
        (shop / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", pair.url()))
        found = examined(shop)
        assert results(found, "KO") == []
        assert found["replica standby"]["detail"].startswith("streaming, sync")
        pair.standby.stop()
        found = examined(shop)
        assert results(found, "KO") == ["replicas", "commit time"]
        assert "is to be waited for and none is there" in found["replicas"]["detail"]


def test_a_server_that_is_away_is_ko(shop: Path) -> None:
    away = "postgresql://postgres@127.0.0.1:1/shop"
    (shop / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", away))
    found = examined(shop)
    assert results(found, "KO") == ["server"]
    assert results(found, "could not check") == ["event types", "schema versions", "sagas and reactions"]


def test_a_reader_that_sees_the_events_is_ko(server_shop: Path, postgres: Server, postgres_url: str) -> None:
    """R4."""
    sell(server_shop, "tea")
    schema = postgres_url.partition("schema=")[2]
    (server_shop / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", f"{postgres_url}&reader={schema}_reader"))
    assert examined(server_shop)["reader"]["detail"] == f"there is no role {schema}_reader"
    postgres.query(f"CREATE ROLE {schema}_reader")
    try:
        assert examined(server_shop)["reader"]["result"] == "OK"
        postgres.query(f"GRANT SELECT ON {schema}.events TO {schema}_reader")
        assert examined(server_shop)["reader"]["fix"] == f"REVOKE SELECT ON {schema}.events FROM {schema}_reader"
    finally:
        postgres.query(f"DROP OWNED BY {schema}_reader; DROP ROLE {schema}_reader")


def test_a_session_that_keeps_the_lock_of_the_log_is_ko(server_shop: Path, postgres: Server, postgres_url: str) -> None:
    sell(server_shop, "tea")
    key = lock_key(postgres_url.partition("schema=")[2], "append")
    holding = f"BEGIN; SELECT pg_advisory_xact_lock({key}); SELECT pg_sleep(60)"
    command = [str(binaries() / "psql"), "-h", str(postgres.folder), "-p", str(postgres.port), "-U", "postgres"]
    settings = {**os.environ, "PGAPPNAME": "a stuck one"}
    with subprocess.Popen([*command, "-c", holding], env=settings, stdout=subprocess.DEVNULL) as holder:
        try:
            deadline = time.monotonic() + 60
            while examined(server_shop)["lock of the log"]["result"] != "KO":
                assert time.monotonic() < deadline
        finally:
            holder.kill()
            postgres.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'a stuck one'"
            )
