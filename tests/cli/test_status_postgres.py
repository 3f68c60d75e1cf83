"""`diptych status` of a service whose stores are on PostgreSQL: the same table, from outside."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from diptych.store.postgres.migrations import lock_key
from tests.cli.test_verbs import SHOP, diptych, rows, sell
from tests.postgres import Server, binaries


@pytest.fixture
def shop(tmp_path: Path, postgres_url: str) -> Path:
    assert "sqlite:///shop.db" in SHOP
    (tmp_path / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", postgres_url))
    return tmp_path


def test_status_before_the_first_start_is_the_beginning_and_makes_nothing(shop: Path, postgres: Server) -> None:
    told = diptych(shop, "status", "shop.py", "--json")
    assert (told.returncode, rows(told)[0]["position"]) == (0, 0)
    assert postgres.query("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'test_%'") == "0"


def test_status_reads_the_schema_of_a_stopped_service(shop: Path, postgres: Server, postgres_url: str) -> None:
    sell(shop, "tea", "milk")
    told = diptych(shop, "status", "shop.py")
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[1].split("\t")[:4] == ["sales", "async", "caught up", "2"]
    schema = postgres_url.partition("schema=")[2]
    postgres.query(f"DELETE FROM {schema}.projection_checkpoints")
    behind = diptych(shop, "status", "shop.py", "--json", "--fail-lag", "0.001ms")
    assert (behind.returncode, rows(behind)[0]["state"], rows(behind)[0]["lag_events"]) == (1, "not running", 2)
    assert "its next event is position 1, Sold of" in behind.stderr


def test_status_names_who_holds_the_lock_of_the_log(shop: Path, postgres: Server, postgres_url: str) -> None:
    """Section 5.1: a stuck holder is named."""
    sell(shop, "tea")
    key = lock_key(postgres_url.partition("schema=")[2], "append")
    holding = f"BEGIN; SELECT pg_advisory_xact_lock({key}); SELECT pg_sleep(60)"
    settings = {**os.environ, "PGAPPNAME": "a stuck one"}
    command = [str(binaries() / "psql"), "-h", str(postgres.folder), "-p", str(postgres.port), "-U", "postgres"]
    with subprocess.Popen([*command, "-c", holding], env=settings, stdout=subprocess.DEVNULL) as holder:
        try:
            told = diptych(shop, "status", "shop.py")
            while "Nobody can append" not in told.stderr:
                assert holder.poll() is None
                told = diptych(shop, "status", "shop.py")
            assert told.returncode == 1
            assert "(a stuck one, from a local socket, active for" in told.stderr
        finally:
            holder.kill()
            postgres.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'a stuck one'"
            )


def test_status_of_rows_of_another_history_says_so(shop: Path, postgres: Server, postgres_url: str) -> None:
    sell(shop, "tea")
    postgres.query(f"UPDATE {postgres_url.partition('schema=')[2]}.view_store SET store_id = gen_random_uuid()")
    told: subprocess.CompletedProcess[str] = diptych(shop, "status", "shop.py")
    assert told.returncode == 2
    assert "other history" in told.stderr.lower() or "another" in told.stderr.lower()
    assert "Traceback" not in told.stderr


@pytest.fixture(params=["file", "server"])
def apart(request: pytest.FixtureRequest, tmp_path: Path, postgres: Server, postgres_url: str) -> Iterator[Path]:
    """A shop whose rows are in another schema than its events, which are in a file or on the server."""
    events = "sqlite:///shop.db" if request.param == "file" else postgres_url
    (tmp_path / "shop.py").write_text(SHOP.replace('"sqlite:///shop.db"', f'"{events}", views="{postgres_url}_rows"'))
    yield tmp_path
    postgres.query(f"DROP SCHEMA IF EXISTS {postgres_url.partition('schema=')[2]}_rows CASCADE")


def test_status_finds_rows_where_they_are(apart: Path, postgres: Server, postgres_url: str) -> None:
    """Their checkpoint is beside them, and not beside the events."""
    sell(apart, "tea", "milk")
    told = diptych(apart, "status", "shop.py", "--json")
    assert (told.returncode, rows(told)[0]["state"], rows(told)[0]["position"]) == (0, "caught up", 2), told.stderr
    rows_in = f"{postgres_url.partition('schema=')[2]}_rows"
    postgres.query(f"INSERT INTO {rows_in}.parked_events VALUES ('sales', 1, 2, 'k', '', 0, 'no milk, please')")
    postgres.query(f"UPDATE {rows_in}.projection_checkpoints SET position = 1")
    told = diptych(apart, "status", "shop.py", "--json", "--fail-lag", "0.001ms")
    (row,) = rows(told)
    assert (told.returncode, row["position"], row["lag_events"], row["parked"]) == (1, 1, 1, 1)
    assert row["error"].startswith("position 2: no milk, please")
    postgres.query(f"DROP SCHEMA {rows_in} CASCADE")
    told = diptych(apart, "status", "shop.py", "--json")
    assert (told.returncode, rows(told)[0]["lag_events"]) == (0, 2)


def test_status_of_rows_elsewhere_that_are_anothers_says_so(apart: Path, postgres: Server, postgres_url: str) -> None:
    sell(apart, "tea")
    rows_in = f"{postgres_url.partition('schema=')[2]}_rows"
    postgres.query(f"UPDATE {rows_in}.projection_checkpoints SET position = 7")
    told = diptych(apart, "status", "shop.py")
    assert told.returncode == 2
    assert f"schema {rows_in} was made from another history: position 7" in told.stderr


def test_status_of_what_keeps_no_events_says_where_to_ask(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP.replace('"sqlite:///shop.db"', f'"memory:", views="{postgres_url}"'))
    told = diptych(tmp_path, "status", "shop.py")
    assert told.returncode == 2
    assert "Ask the running service: /health/ready" in told.stderr
