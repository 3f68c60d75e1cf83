"""`diptych stream`, `event` and `trace`: what is in the log, looked at from outside, on both stores."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.ledger import ADA, FILL, LEDGER, PAY, REQUEST
from tests.cli.test_verbs import diptych, environment, rows

pytestmark = pytest.mark.timeout(120)
Told = subprocess.CompletedProcess[str]


class Ledger(NamedTuple):
    """A service that has run: positions 1 to 5, account Ada at version 4; `token` is of the last event."""

    folder: Path
    url: str
    token: str

    def tells(self, *arguments: str) -> Told:
        return diptych(self.folder, *arguments, DIPTYCH_APP="ledger.py", LEDGER=self.url)


def made(folder: Path, url: str) -> Ledger:
    (folder / "ledger.py").write_text(LEDGER)
    filled = subprocess.run(
        [sys.executable, "-c", FILL],
        cwd=folder,
        env=environment(LEDGER=url),
        capture_output=True,
        text=True,
        check=True,
    )
    return Ledger(folder, url, filled.stdout.strip())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return made(tmp_path_factory.mktemp("ledger"), "sqlite:///ledger.db")


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, file: Ledger, tmp_path: Path) -> Ledger:
    return file if request.param == "sqlite" else made(tmp_path, request.getfixturevalue("postgres_url"))


def test_a_stream_is_shown_in_a_line(ledger: Ledger) -> None:
    told = ledger.tells("stream", "show", f"account/{ADA}", "--json")
    assert told.returncode == 0, told.stderr
    (line,) = rows(told)
    assert (line["stream"], line["version"], line["position"]) == (f"Account-{ADA}", 4, 5)
    assert (line["aggregate"], line["events"]) == ("Account", {"Opened": 1, "PaidIn": 3})


def test_a_bare_id_of_several_streams_is_refused_with_what_to_type(ledger: Ledger) -> None:
    told = ledger.tells("stream", "show", ADA)
    assert (told.returncode, told.stdout) == (2, "")
    assert f"\n  diptych stream show Account/{ADA}\n  diptych stream show Report/{ADA}\n" in told.stderr


def test_an_id_of_no_stream_is_one_sentence(file: Ledger) -> None:
    told = file.tells("stream", "show", f"invoice/{ADA}")
    assert told.returncode == 2
    assert f"There is Account/{ADA}, Report/{ADA}." in told.stderr
    assert "names no stream" in file.tells("stream", "show", "ada").stderr
    assert "has no stream" in file.tells("stream", "show", PAY).stderr


@pytest.mark.parametrize("verb", [["event", "show"], ["trace"]])
def test_what_is_no_event_and_no_time_is_one_sentence(file: Ledger, verb: list[str]) -> None:
    told = file.tells(*verb, "ada")
    assert (told.returncode, told.stderr) == (2, "diptych: 'ada' is no position, no id and no Diptych-Position.\n")
    assert "'yesterday' is no time. Write it like 2026" in file.tells("trace", "5", "--since", "yesterday").stderr


def test_payloads_are_brought_up_to_date_and_raw_ones_are_not(ledger: Ledger) -> None:
    told = ledger.tells("stream", "events", f"Account-{ADA}", "--json")
    old = rows(told)[1]
    assert (old["schema_version"], old["payload"]) == (2, {"cents": 250})
    raw = rows(ledger.tells("stream", "events", f"Account-{ADA}", "--raw", "--json"))[1]
    assert (raw["schema_version"], raw["payload"]) == (1, {"amount": "2.50"})


def test_events_are_lines_in_a_pipe(file: Ledger) -> None:
    told = file.tells("stream", "events", f"account/{ADA}", "--at", "1")
    header, line = told.stdout.splitlines()
    assert header.split("\t")[:2] == ["version", "position"]
    assert line.split("\t")[-1] == '{"owner": "Ada"}'


def test_an_event_that_the_code_cannot_read_is_shown_as_it_is_and_exits_1(tmp_path: Path) -> None:
    ledger = made(tmp_path, "sqlite:///ledger.db")
    (tmp_path / "ledger.py").write_text(LEDGER.replace('@app.upcast("PaidIn", 1)', '@app.upcast("Opened", 1)'))
    told = ledger.tells("stream", "events", f"account/{ADA}", "--json")
    assert told.returncode == 1
    assert rows(told)[1]["payload"] == {"amount": "2.50"}
    assert "no upcaster leads to v2" in told.stderr


def test_an_aggregate_is_folded_by_its_own_class(ledger: Ledger) -> None:
    (line,) = rows(ledger.tells("stream", "state", f"account/{ADA}", "--json"))
    assert (line["version"], line["state"]) == (4, {"owner": "Ada", "cents": 1263, "tags": []})


def test_an_aggregate_is_shown_as_it_was_at_a_version_and_at_a_time(file: Ledger) -> None:
    (then,) = rows(file.tells("stream", "state", f"account/{ADA}", "--at", "2", "--json"))
    assert (then["version"], then["state"]["cents"]) == (2, 250)
    third = rows(file.tells("stream", "events", f"account/{ADA}", "--at", "3", "--json"))[-1]["recorded_at"]
    (at,) = rows(file.tells("stream", "state", f"account/{ADA}", "--at", third, "--json"))
    assert at["version"] == 3


def test_a_time_that_may_be_several_is_refused(file: Ledger) -> None:
    told = file.tells("stream", "state", f"account/{ADA}", "--at", "2026-11-23T10:00")
    assert (told.returncode, told.stdout) == (2, "")
    assert "Say in which zone: 2026-11-23T10:00Z" in told.stderr
    assert (
        "was nothing of it yet" in file.tells("stream", "state", f"account/{ADA}", "--at", "2020-01-01T00:00Z").stderr
    )


def test_diff_says_what_each_event_changed(file: Ledger) -> None:
    told = file.tells("stream", "state", f"account/{ADA}", "--diff", "--json")
    assert [(line["version"], line["field"], line["before"], line["after"]) for line in rows(told)] == [
        (1, "owner", "", "Ada"), (2, "cents", 0, 250), (3, "cents", 250, 1250), (4, "cents", 1250, 1263)
    ]  # fmt: skip


def test_a_category_without_an_aggregate_in_the_app_is_refused_with_what_to_type(tmp_path: Path) -> None:
    ledger = made(tmp_path, "sqlite:///ledger.db")
    (tmp_path / "ledger.py").write_text(
        LEDGER.replace("class Report(Aggregate)", 'class Report(Aggregate, name="Notice")')
    )
    told = ledger.tells("stream", "state", f"report/{ADA}")
    assert told.returncode == 2
    assert "No aggregate of this app is stored as Report. It has Account, Notice." in told.stderr
    assert f"diptych stream events report/{ADA}" in told.stderr


@pytest.mark.parametrize("asked", ["command", "correlation", "token", "event"])
def test_a_conversation_is_found_from_any_of_its_ids(ledger: Ledger, asked: str) -> None:
    reported = rows(ledger.tells("event", "show", "3", "--json"))[0]["event_id"]
    ids = {"command": PAY, "correlation": REQUEST, "token": ledger.token, "event": reported}
    told = ledger.tells("trace", ids[asked], "--json")
    assert told.returncode == 0, told.stderr
    assert [(line["kind"], line["name"], line["position"]) for line in rows(told)] == [
        ("command", "ReportLarge", None), ("event", "Reported", 3), ("command", "PayIn", None), ("event", "PaidIn", 4)
    ]  # fmt: skip
    assert rows(told)[2]["of"] == "bob"
    assert rows(told)[3]["projections"] == {"balances": "applied"}
    assert "looked through positions 1 to 5 of 5" in told.stderr


def test_a_trace_names_what_is_parked(ledger: Ledger) -> None:
    assert rows(ledger.tells("trace", "5", "--json"))[1]["projections"] == {"balances": "parked"}


def test_a_trace_names_what_is_behind(tmp_path: Path) -> None:
    ledger = made(tmp_path, "sqlite:///ledger.db")
    for file in tmp_path.glob("ledger.views.db*"):
        file.unlink()
    assert rows(ledger.tells("trace", "4", "--json"))[-1]["projections"] == {"balances": "4 behind"}


def test_a_search_without_an_index_has_a_limit_and_says_so(file: Ledger) -> None:
    told = file.tells("trace", REQUEST, "--limit", "2", "--json")
    assert [line["position"] for line in rows(told)] == [None, 4]
    assert "looked through positions 4 to 5 of 5. There is no index of conversations" in told.stderr
    nothing = file.tells("trace", REQUEST, "--limit", "1")
    assert nothing.returncode == 2
    assert "at positions 5 to 5 of 5; --limit looks further back" in nothing.stderr
    later = file.tells("trace", REQUEST, "--since", "2099-01-01T00:00Z")
    assert (later.returncode, later.stdout) == (2, "")


def test_a_token_of_another_history_is_refused(file: Ledger, tmp_path: Path) -> None:
    told = file.tells("trace", made(tmp_path, "sqlite:///ledger.db").token)
    assert told.returncode == 2
    assert "another history" in told.stderr


def test_an_event_is_shown_with_what_was_written_beside_it(ledger: Ledger) -> None:
    (line,) = rows(ledger.tells("event", "show", "2", "--json"))
    assert (line["type"], line["schema_version"], line["payload"]) == ("PaidIn", 1, {"cents": 250})
    assert line["stored_payload"] == {"amount": "2.50"}
    (same,) = rows(ledger.tells("event", "show", line["event_id"], "--json"))
    assert same == line


def test_an_event_that_is_not_there_is_one_sentence(file: Ledger) -> None:
    told = file.tells("event", "show", "9")
    assert told.returncode == 2
    assert "it has positions 1 to 5" in told.stderr


def test_events_are_counted_by_type_and_version(ledger: Ledger) -> None:
    told = ledger.tells("event", "stats", "--json")
    assert told.returncode == 0, told.stderr
    assert [(line["type"], line["schema_version"], line["events"], line["last"]) for line in rows(told)] == [
        ("Opened", 1, 1, 1), ("PaidIn", 1, 1, 2), ("PaidIn", 2, 2, 5), ("Reported", 1, 1, 3)
    ]  # fmt: skip


def test_a_type_that_the_code_does_not_know_exits_1(tmp_path: Path) -> None:
    """I2."""
    ledger = made(tmp_path, "sqlite:///ledger.db")
    (tmp_path / "ledger.py").write_text(
        LEDGER.replace("class Reported(DomainEvent)", 'class Reported(DomainEvent, name="Told")')
    )
    told = ledger.tells("event", "stats")
    assert told.returncode == 1
    assert "This code does not know Reported v1, first at position 3." in told.stderr


def test_looking_writes_nothing(file: Ledger) -> None:
    before = {path.name: path.read_bytes() for path in file.folder.glob("*.db*")}
    for verb in (["stream", "events", f"account/{ADA}"], ["trace", "5"], ["event", "stats"]):
        assert file.tells(*verb).returncode == 0
    assert {path.name: path.read_bytes() for path in file.folder.glob("*.db*")} == before


def test_a_service_that_never_ran_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ledger.py").write_text(LEDGER)
    told = diptych(tmp_path, "trace", "5", DIPTYCH_APP="ledger.py")
    assert told.returncode == 2
    assert told.stderr.startswith("diptych: ledger.db is not there")


def test_what_began_a_conversation_is_named_as_metadata_names_it(ledger: Ledger) -> None:
    """It is not written beside its events: the command is its own conversation, and the cause of what it records."""
    told = rows(ledger.tells("stream", "events", f"Account-{ADA}", "--json"))
    first, of_request = told[0], next(line for line in told if line["command_id"] == PAY)
    assert first["command_id"] == first["correlation_id"] == first["causation_id"] is not None
    found = (of_request["command_id"], of_request["correlation_id"], of_request["causation_id"], of_request["user_id"])
    assert found == (PAY, REQUEST, PAY, "bob")
    assert rows(ledger.tells("event", "show", first["event_id"], "--json"))[0]["correlation_id"] == first["command_id"]
