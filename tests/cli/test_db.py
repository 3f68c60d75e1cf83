"""`diptych db`: what it prints, what it asks, how it exits."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw
import pytest

from tests.cli.test_verbs import SHOP, diptych, environment, sell
from tests.postgres import Server

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]

FROM = "sqlite:///shop.db"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop with three sales, one of them waiting to be mended."""
    (tmp_path / "shop.py").write_text(SHOP)
    sell(tmp_path, "pen", "ink", "poison", POISON="poison")
    return tmp_path


def moved_shop(folder: Path, url: str) -> None:
    """Let the code of the shop name the server."""
    (folder / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", url))


def ok(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shop_moves_with_its_rows_and_what_is_parked(shop: Path, postgres_url: str, postgres: Server) -> None:
    done = diptych(shop, "db", "copy", FROM, postgres_url, "--app", "shop.py:app", "--yes", "--json")
    lines = {line["what"]: line for line in json.loads(ok(done))}
    assert {name: line["source"] for name, line in lines.items()} == {
        "events": 3, "streams": 3, "commands": 3, "head": 3, "sale_row": 2
    }  # fmt: skip
    assert all(line["same"] for line in lines.values())
    moved_shop(shop, postgres_url)
    status = diptych(shop, "status", "shop.py:app", "--json")
    assert json.loads(status.stdout)[0]["parked"] == 1
    assert "parked" in status.stderr
    sell(shop, "paper")  # in a process where poison is none any more: what was parked is tried again
    schema = postgres_url.rpartition("schema=")[2]
    rows = postgres.query(f"SELECT product FROM {schema}.sale_row ORDER BY product")
    assert rows.split() == ["ink", "paper", "pen", "poison"]


def test_without_an_app_read_models_are_left_to_be_built_again(shop: Path, postgres_url: str, postgres: Server) -> None:
    (shop / "pyproject.toml").write_text("")
    done = diptych(shop, "db", "copy", FROM, postgres_url, "--yes")
    assert ok(done).splitlines()[0] == "what\tsource\ttarget\tsame"
    assert "built again" in done.stderr
    moved_shop(shop, postgres_url)
    sell(shop, "paper")
    schema = postgres_url.rpartition("schema=")[2]
    assert postgres.query(f"SELECT count(*) FROM {schema}.sale_row") == "4"


def test_on_a_terminal_there_is_a_bar_for_each_stage(shop: Path, postgres_url: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "diptych.cli", "db", "copy", FROM, postgres_url, "--yes"]
    done = subprocess.run(command, cwd=shop, env=environment(TERM="xterm", COLUMNS="80"), stderr=theirs, check=False)
    os.set_blocking(ours, False)
    said = os.read(ours, 100_000).decode()
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0
    for stage in ("events", "compared", "source closed", "target opened"):
        assert stage in said
    assert "3 / 3" in said
    assert "━" in said


def test_a_projection_with_another_shape_is_left_out_and_named(shop: Path, postgres_url: str) -> None:
    code = (
        (shop / "shop.py")
        .read_text()
        .replace("    product: str\n\n\nclass Sales", "    product: str | None\n\n\nclass Sales")
    )
    (shop / "shop.py").write_text(code)
    done = diptych(shop, "db", "copy", FROM, postgres_url, "--app", "shop.py:app", "--yes", "--json")
    assert "sale_row" not in {line["what"] for line in json.loads(ok(done))}
    assert "sales: its tables are not in the files as the code has them" in done.stderr


def test_a_moved_file_says_where_it_went(shop: Path, postgres_url: str) -> None:
    ok(diptych(shop, "db", "copy", FROM, postgres_url, "--yes"))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        sell(shop, "paper")
    assert "StoreMovedError: shop.db was moved to postgresql://" in failed.value.stderr
    again = diptych(shop, "db", "copy", FROM, postgres_url, "--yes")
    assert again.returncode == 0
    assert "was moved before" in again.stderr


def test_another_history_is_refused_for_safety(shop: Path, postgres_url: str, tmp_path: Path) -> None:
    moved_shop(shop, postgres_url)
    sell(shop, "paper")
    done = diptych(shop, "db", "copy", FROM, postgres_url, "--yes")
    assert (done.returncode, done.stdout) == (3, "")
    assert "another history" in done.stderr


def test_it_asks_and_tells_what_it_would_do(shop: Path, postgres_url: str, postgres: Server) -> None:
    refused = diptych(shop, "db", "copy", FROM, postgres_url)
    assert refused.returncode == 3
    assert (
        "shop.db will never be appended to again. Nothing is done. If you are sure: diptych db copy" in refused.stderr
    )
    tried = diptych(shop, "db", "copy", FROM, postgres_url, "--dry-run")
    assert tried.returncode == 0
    for each in (refused, tried):
        assert "shop.db has 3 events of 3 streams and 3 command ids." in each.stderr
    schema = postgres_url.rpartition("schema=")[2]
    assert postgres.query(f"SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'") == "0"
    sell(shop, "paper")


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("sqlite:///absent.db", "postgresql://", "absent.db is not there"),
        ("memory:", "postgresql://", "is no file"),
        (FROM, "sqlite:///other.db", "from a file to a server"),
        (FROM, "mysql://secret:hunter2@host/db", "no store is known"),
    ],
)
def test_what_cannot_be_copied_is_said_in_a_sentence_before_anything_is_asked(
    shop: Path, source: str, target: str, told: str
) -> None:
    done = diptych(shop, "db", "copy", source, target)
    assert done.returncode == 2
    assert told in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_sql_makes_what_an_upgrade_makes(shop: Path, postgres_url: str, postgres: Server) -> None:
    schema = postgres_url.rpartition("schema=")[2]
    postgres.query(ok(diptych(shop, "db", "sql", "--schema", schema)))
    (events, views) = json.loads(ok(diptych(shop, "db", "upgrade", postgres_url, "--json")))
    assert [events["done"], views["done"]] == ["nothing to do", "nothing to do"]
    moved_shop(shop, postgres_url)
    sell(shop, "paper")


def test_the_sql_of_files_makes_files(shop: Path, tmp_path: Path) -> None:
    script = ok(diptych(shop, "db", "sql", FROM))
    events, views = script.split("-- views_0001.sql")
    for name, sql in (("made.db", events), ("made.views.db", "-- " + views)):
        made = apsw.Connection(str(tmp_path / name))
        made.execute(sql)
        made.close()
    rows = json.loads(ok(diptych(tmp_path, "db", "upgrade", "sqlite:///made.db", "--json")))
    assert [row["done"] for row in rows] == ["nothing to do", "nothing to do"]


def test_an_upgrade_says_what_it_did(shop: Path, postgres_url: str, postgres: Server) -> None:
    dry = json.loads(ok(diptych(shop, "db", "upgrade", postgres_url, "--dry-run", "--json")))
    assert [(row["found"], row["done"][:17]) for row in dry] == [(0, "would be applied:")] * 2
    schema = postgres_url.rpartition("schema=")[2]
    assert postgres.query(f"SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'") == "0"
    first = json.loads(ok(diptych(shop, "db", "upgrade", postgres_url, "--json")))
    assert [(row["now"], row["done"][:8]) for row in first] == [(row["known"], "applied:") for row in dry]
    second = diptych(shop, "db", "upgrade", postgres_url)
    assert ok(second).count("nothing to do") == 2


def test_an_upgrade_of_an_app_makes_the_tables_of_its_read_models(
    shop: Path, postgres_url: str, postgres: Server
) -> None:
    moved_shop(shop, postgres_url)
    ok(diptych(shop, "db", "upgrade", "shop.py:app"))
    schema = postgres_url.rpartition("schema=")[2]
    assert postgres.query(f"SELECT count(*) FROM {schema}.sale_row") == "0"


def test_an_upgrade_says_which_projections_begin_again(shop: Path) -> None:
    code = (
        (shop / "shop.py")
        .read_text()
        .replace("    product: str\n\n\nclass Sales", "    product: str | None\n\n\nclass Sales")
    )
    (shop / "shop.py").write_text(code)
    done = diptych(shop, "db", "upgrade", "shop.py:app")
    assert "sales will be built from the first event on" in done.stderr
    assert ok(done)


def test_the_grants_are_for_the_roles_that_were_named(shop: Path) -> None:
    script = ok(diptych(shop, "db", "grants", "--schema", "shop", "--reader", "dashboards"))
    granted = next(line for line in script.splitlines() if "parked_events" in line and 'TO "dashboards"' in line)
    assert granted.startswith('GRANT SELECT ON "shop".')
    assert '"shop".projections' in granted
    assert granted.endswith('TO "dashboards";')
    assert '"shop_reader"' not in script
    refused = diptych(shop, "db", "grants", "--schema", 'a"; DROP')
    assert (refused.returncode, refused.stdout) == (2, "")


def test_ids_and_receipts_survive_the_move(shop: Path, postgres_url: str, postgres: Server) -> None:
    """C1: a command id that took effect in the file takes no effect on the server."""
    file = apsw.Connection(str(shop / "shop.db"))
    used: Any = file.execute("SELECT command_id FROM commands LIMIT 1").get
    file.close()
    ok(diptych(shop, "db", "copy", FROM, postgres_url, "--yes"))
    schema = postgres_url.rpartition("schema=")[2]
    found = postgres.query(f"SELECT events FROM {schema}.commands WHERE command_id = '{UUID(bytes=used)}'")
    assert found == "1"


def test_every_command_of_the_page_on_moving_runs(shop: Path, postgres_url: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "moving.md").read_text()
    commands = re.findall(r"^\$ diptych (.+)$", page, re.M)
    assert len(commands) == 5
    for command in commands:
        words = command.replace("postgresql://shop@db.example.org/shop", postgres_url).split()
        ok(diptych(shop, *words))
