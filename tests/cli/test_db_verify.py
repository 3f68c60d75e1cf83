"""`diptych db verify` finds every planted violation, and nothing where nothing is wrong."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from diptych import App, new_id
from diptych.app.verifying import Verified, verify
from diptych.events.recorded import checksum
from diptych.store.auditing import AT_MOST
from diptych.store.batches import LaneMove, ViewBatch
from diptych.store.opening import open_stores
from diptych.store.protocols import Append
from diptych.subscriptions.lanes import LANES
from diptych.testing.contracts.view_rows import TALLIES
from tests.cli.planting import FENCES_DOWN, PLANTS, ROW_PLANTS, File, Place, Plant, Schema
from tests.cli.test_verbs import SHOP, diptych, sell
from tests.stories.purses import Pay, purses

pytestmark = pytest.mark.anyio


async def fill(app: App) -> None:
    async with app:
        for purse, count in ((new_id(), 4), (new_id(), 3)):
            for _ in range(count):
                await app.commands.dispatch(Pay(purse_id=purse, amount=Decimal(2)))
        head = await app.events.head()
        await app.caught_up()
        for name in app.progress:  # on disk, too
            while (await app.views.checkpoint(name)).position < head.position:
                app.progress[name].wanted()
    await do_a_duty(app.url)


async def do_a_duty(url: str) -> None:
    """Move a lane that commits with appends to the end of the log."""
    store = open_stores(url).events
    await store.open()
    await store.inline.open([TALLIES], store_id=store.store_id)
    (generation,) = await store.inline.generations.all(TALLIES.name)
    (held,) = await store.inline.leases.claim("worker", TALLIES.name, generation.number, [0])
    moves, (position, event_id, _) = [LaneMove(0, held.epoch, 0)], await store.head()
    await store.append(Append([], beside=ViewBatch(TALLIES.name, generation.number, moves, position, event_id)))
    await store.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    found: Place = File(tmp_path)
    if request.param == "postgres":
        found = Schema(request.getfixturevalue("postgres"), request.getfixturevalue("postgres_url"))
    await fill(purses(found.url))
    return found


async def verified(place: Place, *, rows: bool = False) -> Verified:
    return await verify(place.url, purses(place.url), lambda *_: None, rows=rows)


def assert_found(done: Verified, plant: Plant) -> None:
    found = [f for f in done.audited.findings if f.invariant == plant.invariant and f.position == plant.position]
    assert any(plant.says in finding.sentence for finding in found), done.audited.findings


async def test_a_sound_store_has_no_finding_and_everything_was_read(place: Place) -> None:
    done = await verified(place, rows=True)
    assert list(done.audited.findings) == []
    assert list(done.not_checked) == []
    beside_it = LANES if isinstance(place, Schema) else 1  # in a file of their own the least of the lanes is looked at
    assert done.audited.read == {
        "events": 7, "events by stream": 7, "streams": 2, "commands": 7, "checkpoints": 1 + beside_it, "rows": 2
    }  # fmt: skip


@pytest.mark.parametrize("name", PLANTS)
async def test_a_planted_violation_of_the_log_is_found(place: Place, name: str) -> None:
    """L1 to L4, L7, L8, P2."""
    place.plant(PLANTS[name].sql)
    assert_found(await verified(place), PLANTS[name])


@pytest.mark.parametrize("name", ROW_PLANTS)
async def test_a_planted_violation_of_rows_is_found(place: Place, name: str) -> None:
    """P1, P2."""
    place.plant_rows(ROW_PLANTS[name].sql)
    assert_found(await verified(place, rows=True), ROW_PLANTS[name])


async def test_a_guard_that_is_not_put_back_is_found(place: Place) -> None:
    """L8: triggers hold it for the owner, too."""
    place.plant("", leave_open=True)
    said = {finding.sentence for finding in (await verified(place)).audited.findings}
    assert any("events_are_never_changed is missing" in sentence for sentence in said)
    assert any("versions_only_rise is missing" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("place", "sql"), [(kind, sql) for kind, down in FENCES_DOWN.items() for sql in down], indirect=["place"]
)
async def test_a_table_of_rows_that_anybody_can_write_is_found(place: Place, sql: str) -> None:
    """DP103: rows are their projection's."""
    place.plant_rows(sql)
    assert_found(await verified(place, rows=True), Plant(sql, "P1", None, "fence around purse_row__g1 is missing"))


async def test_an_event_that_is_edited_with_its_checksum_breaks_the_chain_of_its_stream(tmp_path: Path) -> None:
    """L8: on SQLite. Whoever knows how, and does not know of the chain."""
    place = File(tmp_path)
    app = purses(place.url)
    await fill(app)
    async with app:
        row = (await app.events.read_log(after=1, limit=1)).events[0]
    forged = row._replace(payload='{"amount":"999"}')
    place.plant(f"UPDATE events SET payload = '{forged.payload}', checksum = {checksum(forged)} WHERE position = 2")
    found = (await verified(place)).audited.findings
    assert [(each.invariant, each.position) for each in found] == [("L8", 2)]
    assert "chained checksum" in found[0].sentence


async def test_of_many_findings_some_are_listed_and_all_counted(tmp_path: Path) -> None:
    place, purse = File(tmp_path), new_id()
    app = purses(place.url)
    async with app:
        for _ in range(AT_MOST + 5):
            await app.commands.dispatch(Pay(purse_id=purse, amount=Decimal(1)))
    place.plant("UPDATE events SET slice = (slice + 1) % 1024")
    done = await verified(place)
    assert (len(done.audited.findings), done.audited.left_out) == (AT_MOST, {"L8": 5})


async def test_a_type_that_the_code_does_not_know_is_found_once(tmp_path: Path) -> None:
    """I2: where it is first met; the others say the same."""
    place, purse = File(tmp_path), new_id()
    app = purses(place.url)
    async with app:
        for _ in range(3):
            await app.commands.dispatch(Pay(purse_id=purse, amount=Decimal(1)))
    place.plant("UPDATE events SET schema_version = 9 WHERE position > 1")
    found = [each for each in (await verified(place)).audited.findings if each.invariant == "I2"]
    assert [each.position for each in found] == [2]
    assert "is the first" in found[0].sentence


async def test_what_is_appended_meanwhile_is_no_finding(place: Place) -> None:
    app = purses(place.url)
    async with app:
        paying = asyncio.create_task(pay_on(app))
        found = [await verified(place, rows=True) for _ in range(3)]
        paying.cancel()
    assert [finding for done in found for finding in done.audited.findings] == []
    assert found[-1].audited.read["events"] > 7


async def pay_on(app: App) -> None:
    while True:
        await app.commands.dispatch(Pay(amount=Decimal(1)))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def test_parked_events_are_no_difference(shop: Path) -> None:
    """P1: the fold minus the parked positions."""
    sell(shop, "tea", "poison", "milk", POISON="poison")
    told = diptych(shop, "db", "verify", "shop.py", "--rows", "--json")
    assert (told.returncode, told.stdout.strip()) == (0, "[]"), told.stderr
    assert "3 events, 3 streams, 3 commands, 1 checkpoints, 2 rows: no findings" in told.stderr


def test_rows_of_another_version_of_the_code_are_left_alone(shop: Path) -> None:
    """And said not to be checked: opening them would make them anew."""
    sell(shop, "tea")
    kept = (shop / "shop.views.db").read_bytes()
    (shop / "shop.py").write_text(SHOP.replace("Projection[SaleRow]", "Projection[SaleRow], version=2"))
    told = diptych(shop, "db", "verify", "shop.py", "--rows")
    assert told.returncode == 0
    assert "not checked: the rows of sales" in told.stderr
    assert (shop / "shop.views.db").read_bytes() == kept


def test_a_finding_is_a_line_and_exit_1(shop: Path) -> None:
    sell(shop, "tea", "milk")
    File(shop).plant("DELETE FROM events WHERE position = 1")
    told = diptych(shop, "db", "verify", "shop.py")
    assert told.returncode == 1
    assert told.stdout.splitlines()[:2] == [
        "invariant\tposition\tfinding", "L2\t1\tPosition 1 is missing: the log goes on with 2."
    ]  # fmt: skip
    assert diptych(shop, "db", "verify", "shop.py", "--rows").returncode == 1


def test_without_an_app_a_log_is_verified_by_its_url(shop: Path) -> None:
    sell(shop, "tea")
    told = diptych(shop, "db", "verify", "sqlite:///shop.db", "--json")
    assert (told.returncode, told.stdout.strip()) == (0, "[]")
    assert "not checked: whether the code knows the types of all events" in told.stderr


def test_a_damaged_file_is_a_finding(shop: Path) -> None:
    """X4."""
    sell(shop, *map(str, range(200)))
    file = shop / "shop.db"
    content = bytearray(file.read_bytes())
    content[4096 * 35 : 4096 * 45] = bytes(4096 * 10)
    file.write_bytes(content)
    told = diptych(shop, "db", "verify", "shop.py", "--rows")
    assert told.returncode == 1
    assert "cannot be read" in told.stdout
    assert "Traceback" not in told.stderr


def test_a_store_that_is_not_there_is_one_sentence_and_exit_2(shop: Path) -> None:
    told = diptych(shop, "db", "verify", "shop.py")
    assert told.returncode == 2
    assert told.stderr.startswith("diptych: shop.db is not there")
