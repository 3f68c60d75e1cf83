"""`diptych event search`: events by what they have in common, on both stores."""

from pathlib import Path
from uuid import UUID

import pytest

from diptych.app.searching import Bounds, FoundEvents, Wanted, search
from diptych.errors import InvalidInputError
from diptych.store.opening import log_from_outside
from tests.cli.ledger import ADA, LEDGER, PAY, REQUEST
from tests.cli.test_stream import Ledger, made
from tests.cli.test_verbs import diptych, rows

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return made(tmp_path_factory.mktemp("ledger"), "sqlite:///ledger.db")


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, file: Ledger, tmp_path: Path) -> Ledger:
    return file if request.param == "sqlite" else made(tmp_path, request.getfixturevalue("postgres_url"))


def url_of(ledger: Ledger) -> str:
    return ledger.url.replace("sqlite:///", f"sqlite:///{ledger.folder}/")


async def positions(ledger: Ledger, wanted: Wanted, bounds: Bounds | None = None) -> list[int]:
    return [row.position for row in (await searched(ledger, wanted, bounds or Bounds())).events]


async def searched(ledger: Ledger, wanted: Wanted, bounds: Bounds) -> FoundEvents:
    async with log_from_outside(url_of(ledger)) as log:
        return await search(log, wanted, bounds)


async def test_events_are_found_by_each_thing_and_by_several_the_newest_first(ledger: Ledger) -> None:
    found = {
        (5, 4, 3, 2, 1): Wanted(),
        (5, 4, 2): Wanted(types=["PaidIn"]),
        (5, 4, 2, 1): Wanted(types=["PaidIn", "Opened"]),
        (3,): Wanted(stream=f"report/{ADA}"),
        (4,): Wanted(user="bob"),
        (4, 3): Wanted(conversation=UUID(REQUEST)),
        (1,): Wanted(text='"Ada"'),
        (2,): Wanted(text="2.50", types=["PaidIn"], stream="account"),
        (): Wanted(text="2.50", types=["Opened"]),
    }
    assert {tuple(await positions(ledger, wanted)): wanted for wanted in found.values()} == found
    assert await positions(ledger, Wanted(stream=ADA)) == [5, 4, 3, 2, 1]
    assert await positions(ledger, Wanted(stream="Account")) == [5, 4, 2, 1]


async def test_only_the_user_of_that_name_is_meant_and_only_the_conversation_that_an_id_began(ledger: Ledger) -> None:
    """A store finds texts; the text of one thing may stand in another."""
    assert await positions(ledger, Wanted(user="bo")) == []
    assert await positions(ledger, Wanted(user=PAY)) == []
    assert await positions(ledger, Wanted(conversation=UUID(PAY))) == []


async def test_what_sql_reads_as_something_else_is_only_a_text(ledger: Ledger) -> None:
    for text in ("%", "_", "'", '\\"', "{}", "?", "$1", "[]", "NULL"):
        assert await positions(ledger, Wanted(text=text)) == []
        assert await positions(ledger, Wanted(types=[text])) == []
        assert await positions(ledger, Wanted(stream=text)) == []
        assert await positions(ledger, Wanted(user=text)) == []


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 10_000])
async def test_the_log_is_looked_through_piece_by_piece_and_no_further_than_asked(ledger: Ledger, chunk: int) -> None:
    """P8: a piece is all that is in memory, whatever the log is."""
    paid = Wanted(types=["PaidIn"])
    assert await positions(ledger, paid, Bounds(chunk=chunk)) == [5, 4, 2]
    some = await searched(ledger, paid, Bounds(events=2, chunk=chunk))
    assert ([row.position for row in some.events], some.scanned, some.is_all) == ([5, 4], (4, 5), False)
    newest = await searched(ledger, paid, Bounds(positions=2, chunk=chunk))
    assert ([row.position for row in newest.events], newest.scanned, newest.is_all) == ([5, 4], (4, 5), False)
    rest = await searched(ledger, paid, Bounds(positions=5, chunk=chunk))
    assert (rest.scanned, rest.head, rest.is_all) == ((1, 5), 5, True)


async def test_times_bound_what_is_looked_through(ledger: Ledger) -> None:
    times = {row.position: row.recorded_at for row in (await searched(ledger, Wanted(), Bounds())).events}
    wanted = Wanted(since=times[2], until=times[4])
    first = min(position for position in times if times[position] == times[2])
    last = max(position for position in times if times[position] == times[4])
    found = await searched(ledger, wanted, Bounds())
    assert found.scanned == (first, last)
    assert [row.position for row in found.events] == list(range(last, first - 1, -1))
    assert (await searched(ledger, Wanted(until=times[1] - 1), Bounds())).scanned == (1, 0)


async def test_what_is_no_stream_and_no_text_is_refused(file: Ledger) -> None:
    for wanted in (Wanted(stream="order/12"), Wanted(text="\udcff"), Wanted(user="\udcff"), Wanted(types=["\udcff"])):
        with pytest.raises(InvalidInputError, match=r"names no stream|is no text in UTF-8"):
            await searched(file, wanted, Bounds())


def test_a_found_event_is_a_line_brought_up_to_date(ledger: Ledger) -> None:
    told = ledger.tells("event", "search", "2.50", "--type", "PaidIn", "--json")
    assert told.returncode == 0, told.stderr
    (line,) = rows(told)
    assert (line["position"], line["stream"], line["payload"]) == (2, f"Account-{ADA}", {"cents": 250})
    assert "1 event found; looked through positions 1 to 5 of 5\n" in told.stderr


def test_a_search_says_how_far_it_looked_and_what_looks_further(file: Ledger) -> None:
    some = file.tells("event", "search", "--limit", "2")
    assert [line.split("\t")[0] for line in some.stdout.splitlines()] == ["position", "5", "4"]
    assert "looked through positions 4 to 5 of 5. There may be more: --limit 20, or --until an earlier" in some.stderr
    near = file.tells("event", "search", "--type", "Opened", "--depth", "3", "--json")
    assert (near.returncode, rows(near)) == (0, [])
    assert "0 events found; looked through positions 3 to 5 of 5. There may be more: --depth 30" in near.stderr
    never = file.tells("event", "search", "--since", "2099-01-01T00:00Z")
    assert "0 events found: nothing was recorded then; there are positions 1 to 5" in never.stderr


def test_a_log_without_events_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "ledger.py").write_text(LEDGER)
    assert diptych(tmp_path, "db", "upgrade", "ledger.py").returncode == 0
    told = diptych(tmp_path, "event", "search", "--app", "ledger.py", "--json")
    assert (told.returncode, rows(told), told.stderr) == (0, [], "0 events found: the log is empty\n")


def test_a_type_that_was_mistyped_is_said(file: Ledger) -> None:
    told = file.tells("event", "search", "--type", "PaidOn")
    assert told.returncode == 0
    assert "This code has no event PaidOn. Did you mean PaidIn?" in told.stderr


def test_an_event_that_the_code_cannot_read_is_found_as_it_is_and_exits_1(tmp_path: Path) -> None:
    ledger = made(tmp_path, "sqlite:///ledger.db")
    (tmp_path / "ledger.py").write_text(LEDGER.replace('@app.upcast("PaidIn", 1)', '@app.upcast("Opened", 1)'))
    told = ledger.tells("event", "search", "2.50", "--json")
    assert told.returncode == 1
    assert rows(told)[0]["payload"] == {"amount": "2.50"}
    assert "PaidIn" in told.stderr


def test_a_search_writes_nothing(file: Ledger) -> None:
    before = {path.name: path.read_bytes() for path in file.folder.glob("*.db*")}
    assert file.tells("event", "search", "Ada").returncode == 0
    assert {path.name: path.read_bytes() for path in file.folder.glob("*.db*")} == before
