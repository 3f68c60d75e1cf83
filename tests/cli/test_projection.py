"""`diptych projection` as a shell sees it: what is on stdout, what on stderr, and the exit code."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

from diptych.cli.main import main
from diptych.store.sqlite.fence import let_in
from tests.cli.stall import FILL, SERVE, STALL

pytestmark = pytest.mark.timeout(150)


class Told(NamedTuple):
    """What was typed, and what came of it."""

    words: Sequence[str]
    returncode: int
    stdout: str
    stderr: str


class Stall:
    """The service in a folder, and the shell in front of it."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "stall.py").write_text(STALL)
        self.folder, self.url = folder, url

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DIPTYCH_")}
        return {**kept, "DIPTYCH_APP": "stall.py", "STALL": self.url, **extra}

    def types(self, *words: str, **extra: str) -> Told:
        """Type `diptych projection ...`: in this process, for the verbs are many and to start one takes long."""
        out, err, code = StringIO(), StringIO(), 0
        words = ("projection", *words)
        with pytest.MonkeyPatch.context() as patch, open(os.devnull) as nothing:
            patch.chdir(self.folder)
            for name in os.environ.keys() - self.environment().keys():
                patch.delenv(name)
            for name, value in self.environment(**extra).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["diptych", *words])
            patch.setattr(sys, "path", list(sys.path))
            patch.setattr(sys, "stdin", nothing)
            patch.delitem(sys.modules, "stall", raising=False)
            with redirect_stdout(out), redirect_stderr(err):
                try:
                    main()
                except SystemExit as ended:
                    code = int(ended.code or 0)
            sys.modules.pop("stall", None)
        return Told(words, code, out.getvalue(), err.getvalue())

    def shell(self, *words: str, **extra: str) -> Told:
        """Type it in a process of its own."""
        command = [sys.executable, "-m", "diptych.cli", "projection", *words]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(**extra), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        return Told(words, done.returncode, done.stdout, done.stderr)

    def shows(self, name: str, **extra: str) -> dict[str, Any]:
        (found,) = json.loads(self.types("show", name, "--json", **extra).stdout)
        shown: dict[str, Any] = found
        return shown

    def live(self, name: str) -> int:
        number: int = self.shows(name)["generation"]
        return number

    @contextmanager
    def serves(self, *products: str, **extra: str) -> Iterator[None]:
        """Run the service, which sells these products first."""
        with subprocess.Popen(
            [sys.executable, "-c", SERVE, *products], cwd=self.folder, env=self.environment(**extra),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdin is not None
            assert [process.stdout.readline() for _ in range(2)] == ["a till is made\n", "ready\n"]
            try:
                yield
            finally:
                process.stdin.close()

    def sells(self, *products: str, **extra: str) -> None:
        """Sell, and close."""
        with self.serves(*products, **extra):
            pass

    def sells_many(self, count: int) -> None:
        command = [sys.executable, "-c", FILL, str(count)]
        subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, check=True)

    def spoils(self, sql: str) -> None:
        """Change rows behind everybody's back."""
        connection = apsw.Connection(str(self.folder / "stall.views.db"))
        let_in(connection)
        connection.execute(sql)
        connection.close()

    def rebuilds(self, name: str) -> "subprocess.Popen[str]":
        """Start a rebuild that takes some seconds, and return when its build has begun."""
        command = [sys.executable, "-m", "diptych.cli", "projection", "rebuild", name, "--yes"]
        slowly, pipe = self.environment(SLOW="0.0005"), subprocess.PIPE
        process = subprocess.Popen(
            command, cwd=self.folder, env=slowly, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )
        assert process.stderr is not None
        while not (line := process.stderr.readline()).startswith("begin"):
            assert line, "it ended"
        return process


@pytest.fixture
def stall(tmp_path: Path) -> Stall:
    return Stall(tmp_path, "sqlite:///stall.db")


def test_list_has_a_line_for_each_and_exits_1_when_one_needs_somebody(stall: Stall) -> None:
    stall.sells("tea", "milk")
    told = stall.types("list")
    assert told.returncode == 0
    header, *lines = told.stdout.splitlines()
    columns = ["projection", "state", "generation", "lag_events", "lag_seconds", "lanes", "workers", "parked", "error"]
    assert header.split("\t") == columns
    assert [line.split("\t")[:6] for line in lines] == [
        ["sales", "caught up", "1", "0", "0.000", "16"],
        ["totals", "caught up", "2", "0", "0.000", "1"],
    ]
    stall.sells("poison", POISON="poison")
    told = stall.types("list", "--json")
    assert told.returncode == 1
    assert [(row["state"], row["parked"]) for row in json.loads(told.stdout)] == [("parked", 1), ("caught up", 0)]


def test_show_tells_all_of_one(stall: Stall) -> None:
    """Lanes, generations, parked keys with their errors, alerts, and what was asked and done."""
    stall.sells("tea", "poison", POISON="poison")
    stall.types("pause", "sales", "--for", "5min", "--reason", "we look at it")
    told = stall.types("show", "sales")
    assert told.returncode == 0  # paused is on purpose
    assert "sales: paused, async, generation 1, version 1" in told.stderr
    assert "we look at it" in told.stderr
    for heading in ("lanes", "generations", "parked", "asked and done, newest first"):
        assert f"\n{heading}\n" in told.stderr
    assert "ValueError: no poison, please" in told.stdout
    assert "pause" in told.stdout
    assert stall.types("resume", "sales").returncode == 0
    shown = stall.shows("sales")
    assert [one["events"] for one in shown["parked"]] == [1]
    assert [one["verb"] for one in shown["requests"]] == ["resume", "pause"]
    assert (len(shown["lanes"]), shown["state"]) == (16, "parked")
    assert stall.types("show", "sales").returncode == 1


def test_alerts_are_shown(stall: Stall) -> None:
    stall.sells("tea")
    now = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    stall.spoils(
        f"INSERT INTO alerts (projection, kind, message, value, raised_at, updated_at) "
        f"VALUES ('sales', 'lag', 'sales is 40 s behind', 40, {now}, {now})"
    )
    told = stall.types("show", "sales")
    assert "\nalerts, newest first\n" in told.stderr
    assert "not yet\tsales is 40 s behind" in told.stdout
    assert [one["kind"] for one in stall.shows("sales")["alerts"]] == ["lag"]


def test_a_name_that_is_none_is_refused_by_every_verb(stall: Stall) -> None:
    stall.sells("tea")
    for words in (
        ["show", "sale"], ["pause", "sale"], ["pause", "sale", "--dry-run"], ["resume", "sale"], ["retry", "sale"],
        ["skip", "sale", "1", "--reason", "x", "--yes"], ["rebuild", "sale", "--yes"], ["rollback", "sale", "--yes"],
        ["accept", "sale", "--reason", "x"], ["drop", "sale", "1", "--yes"], ["drop", "sale", "1", "--dry-run"],
    ):  # fmt: skip
        told = stall.types(*words)
        assert told.returncode == 2, words
        assert "There is no projection sale" in told.stderr, words


def test_what_is_asked_of_a_terminal_is_refused_without_one_with_the_command_to_type(stall: Stall) -> None:
    stall.sells("tea", "milk")
    assert stall.shell("rebuild", "sales").returncode == 3
    for words in (
        ["rebuild", "sales"],
        ["rollback", "sales", "--to", "1"],
        ["drop", "sales", "1"],
        ["skip", "sales", "1", "--reason", "it is old"],
    ):
        told = stall.types(*words)
        assert told.returncode == 3, told.stderr
        typed = " ".join(words).replace("it is old", "'it is old'")
        assert f"If you are sure: diptych projection {typed} --yes\n" in told.stderr
    assert stall.live("sales") == 1


def test_pause_holds_it_and_resume_lets_it_go_on(stall: Stall) -> None:
    stall.sells("tea")
    assert "totals would stand for 1min" in stall.types("pause", "totals", "--for", "1min", "--dry-run").stderr
    assert stall.shows("totals")["state"] == "caught up"
    told = stall.types("pause", "totals")
    assert (told.returncode, told.stdout) == (0, "")
    assert "Go on with: diptych projection resume totals" in told.stderr
    assert stall.shows("totals")["state"] == "paused"
    assert stall.types("resume", "totals").stderr == "totals goes on.\n"
    assert stall.shows("totals")["state"] == "caught up"


def test_retry_and_skip_are_done_by_the_service(stall: Stall) -> None:
    with stall.serves("tea", "poison", "milk", POISON="poison"):
        key = stall.shows("sales")["parked"][0]["key"]
        told = stall.types("retry", "sales", "--key", key)
        assert (told.returncode, "stays parked" in told.stdout) == (4, True)
        assert stall.types("retry", "totals").stderr == "Nothing of totals is parked.\n"
        nothing = stall.types("retry", "sales", "--key", "no such key")
        assert (nothing.returncode, "the key no such key is not parked" in nothing.stderr) == (2, True)
        assert "1 parked events of 1 keys" in stall.types("retry", "sales", "--dry-run").stderr
        kept = stall.types("rebuild", "sales", "--key", f"sale/{key}", "--yes", "--reason", "we try")
        assert (kept.returncode, "stays as it is: sales failed on position 2" in kept.stdout) == (4, True)
        told = stall.types("skip", "sales", "2", "--reason", "a test sale", "--yes")
        assert (told.returncode, told.stdout.startswith("Position 2 is left out for ever.")) == (0, True)
        assert stall.shows("sales")["parked"] == []
        again = stall.types("skip", "sales", "1", "--reason", "why not", "--yes")
        assert (again.returncode, "no lane stands before position 1" in again.stderr) == (2, True)
        ahead = stall.types("skip", "sales", "99", "--reason", "by mistake", "--yes")
        assert (ahead.returncode, ahead.stderr) == (
            2,
            "diptych: There is no event at position 99 yet: the log ends at 3.\n",
        )
        assert [one["position"] for one in stall.shows("sales")["requests"] if one["verb"] == "skip"] == [2]
    assert stall.types("skip", "sales", "1", "--yes").returncode == 2  # a reason is needed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["skip", "sales", "1", "--yes", "--reason", " "], "Say why"),
        (["skip", "sales", "9" * 20, "--yes", "--reason", "x"], "Invalid value for 'POSITION'"),
        (["accept", "sales", "--reason", ""], "Say why"),
        (["pause", "sales", "--for", "99999999999h"], "99999999999h is too long a time span. Write 876000h at most."),
        (["rebuild", "sales", "--swap-anyway", "--no-swap"], "--swap-anyway and --no-swap exclude each other"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(stall: Stall, words: list[str], told: str) -> None:
    """Numbers that no store can keep ended with a traceback, and an empty reason was taken for one."""
    stall.sells("tea")
    done = stall.types(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in " ".join(done.stderr.split())
    assert stall.shows("sales")["requests"] == []


def test_what_nobody_does_is_said(stall: Stall) -> None:
    stall.sells("tea", "poison", POISON="poison")
    key = stall.shows("sales")["parked"][0]["key"]
    for words in (["retry", "sales", "--key", key], ["rebuild", "sales", "--key", key, "--yes"]):
        told = stall.types(*words, "--within", "100ms")
        assert told.returncode == 1
        assert "1 of 1 lanes of sales did not answer in time" in told.stderr


def test_the_rows_of_one_key_are_made_again(stall: Stall) -> None:
    with stall.serves("tea", "milk"):
        stall.spoils("UPDATE sale_row__g1 SET product = 'gold' WHERE product = 'tea'")
        connection = apsw.Connection(str(stall.folder / "stall.views.db"))
        key = str(connection.execute("SELECT id FROM sale_row WHERE product = 'gold'").get)
        dry = stall.types("rebuild", "sales", "--key", key, "--dry-run")
        assert (dry.returncode, "would be folded again" in dry.stderr) == (0, True)
        told = stall.types("rebuild", "sales", "--key", key, "--yes")
        assert (told.returncode, told.stdout) == (0, f"{key}: its rows are made of its 1 events again.\n")
        products = [product for (product,) in connection.execute("SELECT product FROM sale_row ORDER BY 1").fetchall()]
        assert products == ["milk", "tea"]
        connection.close()
        refused = stall.types("rebuild", "totals", "--key", key, "--yes")
        assert (refused.returncode, "made of several streams each" in refused.stderr) == (3, True)
        assert stall.types("rebuild", "sales", "--key", "tea", "--yes").returncode == 2


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_projection_is_rebuilt_rolled_back_and_dropped(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    url = "sqlite:///stall.db" if store == "sqlite" else request.getfixturevalue("postgres_url")
    stall = Stall(tmp_path, url)
    stall.sells_many(3000)
    dry = stall.types("rebuild", "sales", "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "event\tevents\nSold\t3000\n")
    assert re.search(r"sales: 3,000 events to read, about .* at [\d,]+ events a second", dry.stderr)
    assert [one["state"] for one in stall.shows("sales")["generations"]] == ["live"]

    told = stall.types("rebuild", "sales", "--yes", "--reason", "to try it")
    assert told.returncode == 0, told.stderr
    assert "a till is made" not in told.stdout + told.stderr  # P9
    assert told.stdout.endswith("table\trows_old\trows_new\tdiffering\nsale_row\t3000\t3000\t0\n")
    new = stall.live("sales")
    assert f"sales is read from generation {new}. Back again: diptych projection rollback sales" in told.stderr
    assert [one["state"] for one in stall.shows("sales")["generations"]] == ["kept", "live"]

    back = stall.types("rollback", "sales", "--yes")
    assert back.returncode == 0
    assert f"sales is read from generation 1. Back again: diptych projection rollback sales --to {new}" in back.stderr
    assert stall.types("rollback", "sales", "--to", str(new), "--yes").returncode == 0
    assert stall.live("sales") == new
    refused = stall.types("drop", "sales", str(new), "--yes")
    assert (refused.returncode, "it is the one that is read" in refused.stderr) == (3, True)
    assert stall.types("drop", "sales", "1", "--yes").returncode == 0
    none = stall.types("rollback", "sales", "--yes")
    assert (none.returncode, "no earlier one was kept" in none.stderr) == (3, True)
    noted = [(one["verb"], one["outcome"], one["reason"]) for one in stall.shows("sales")["requests"]]
    assert noted[-1] == ("rebuild", f"generation {new} is read", "to try it")
    assert [verb for verb, _, _ in noted] == ["drop", "rollback", "rollback", "rebuild"]


def test_rows_that_differ_though_the_code_did_not_change_are_shown_and_not_read(stall: Stall) -> None:
    stall.sells("tea", "milk")
    stall.spoils("UPDATE total__g2 SET sold = 7 WHERE product = 'tea'")
    told = stall.types("rebuild", "totals", "--yes")
    assert told.returncode == 3
    assert "total\t2\t2\t1\n" in told.stdout
    assert "total\ttea\tsold=7\tsold=1\n" in told.stdout
    assert "generation 3 is built and not read: rows differ, though the code did not change" in told.stderr
    assert stall.live("totals") == 2
    assert "diptych projection rebuild totals --swap-anyway" in told.stderr
    assert "diptych projection drop totals 3" in told.stderr
    assert stall.types("rebuild", "totals", "--yes", "--swap-anyway").returncode == 0
    assert stall.live("totals") == 3


def test_what_is_built_may_wait_to_be_read(stall: Stall) -> None:
    stall.sells("tea")
    told = stall.types("rebuild", "totals", "--yes", "--no-swap", "--no-compare")
    assert (told.returncode, "generation 3 is built and not read: --no-swap was said" in told.stderr) == (0, True)
    assert stall.types("drop", "totals", "3", "--yes").stderr == "Generation 3 of totals is dropped.\n"
    assert [one["generation"] for one in stall.shows("totals")["generations"]] == [2]


def test_code_that_changed_is_said_and_rebuilt_or_accepted(stall: Stall) -> None:
    stall.sells("tea", "milk")
    told = stall.types("list", "--json", TOTALS="2")
    assert told.returncode == 1
    assert [row["state"] for row in json.loads(told.stdout)] == ["caught up", "frozen"]
    refused = stall.types("accept", "totals", "--reason", "it is the same", TOTALS="2")
    assert (refused.returncode, "they have to be built again" in refused.stderr) == (3, True)
    assert stall.types("rebuild", "totals", "--yes", TOTALS="2").returncode == 0
    assert [row["state"] for row in json.loads(stall.types("list", "--json", TOTALS="2").stdout)] == ["caught up"] * 2
    source = stall.folder / "stall.py"
    source.write_text(source.read_text().replace("if row else 0) + 1", "if row is not None else 0) + 1"))
    shown = stall.shows("totals", TOTALS="2")
    assert "Its code changed since generation 3 was built" in shown["note"]
    assert "would be taken" in stall.types("accept", "totals", "--reason", "x", "--dry-run", TOTALS="2").stderr
    told = stall.types("accept", "totals", "--reason", "it comes to the same", TOTALS="2")
    assert (told.returncode, told.stderr) == (0, "totals: generation 3 is accepted.\n")
    assert stall.shows("totals", TOTALS="2")["note"] is None


def test_an_interrupted_rebuild_says_how_to_go_on_and_does(stall: Stall) -> None:
    stall.sells_many(8000)
    process = stall.rebuilds("sales")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert "what is built is kept. Go on with: diptych projection rebuild sales" in said
    assert "Traceback" not in said
    assert [one["state"] for one in stall.shows("sales")["generations"]] == ["live", "building"]
    told = stall.types("rebuild", "sales", "--yes")
    assert told.returncode == 0, told.stderr
    assert stall.live("sales") == 3


def test_processes_that_build_end_when_the_rebuild_is_killed(stall: Stall) -> None:
    """So that it can be started again at once."""
    stall.sells_many(8000)
    process = stall.rebuilds("sales")
    process.kill()
    process.communicate()
    told = stall.types("rebuild", "sales", "--yes")
    assert told.returncode == 0, told.stderr
    assert stall.live("sales") == 3


def test_an_event_that_stops_a_build_is_named_with_the_command_that_goes_on(stall: Stall) -> None:
    """A key of an isolated projection would be parked; more than a hundred are a bug."""
    stall.sells_many(3000)
    told = stall.types("rebuild", "sales", "--yes", POISON="tea")
    assert told.returncode == 2
    last = told.stderr.strip().rpartition("\n")[2]
    assert last.startswith("diptych: sales: sales failed on position ")
    assert last.endswith(". What is built is kept. Once it is mended: diptych projection rebuild sales")
    assert stall.live("sales") == 1
    told = stall.types("rebuild", "sales", "--yes", "--no-compare")
    assert told.returncode == 0, told.stderr
    assert "are parked in it" not in told.stderr  # those that were are tried again
